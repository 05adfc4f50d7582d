package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what one process took.
type usage struct {
	Wall, User, System float64 // seconds
	report
}

// report is what a process of ours tells of itself.
type report struct {
	Peak  int64   `json:"peak,omitempty"`  // VmHWM, bytes
	User  float64 `json:"user,omitempty"`  // of the part that counts, seconds
	P50   float64 `json:"p50,omitempty"`   // seconds
	P99   float64 `json:"p99,omitempty"`   // seconds
	Bytes int64   `json:"bytes,omitempty"` // read, stored, or whatever the task counts

	Idle   []window `json:"idle,omitempty"`   // of a guest's writes, when nothing else happens
	During []window `json:"during,omitempty"` // and during backups of it
}

// command is a process to be run.
type command struct {
	args []string
	env  []string
	dir  string
}

// run runs a process to its end and measures it. What earlier ones wrote is
// flushed first, so that nobody pays for another.
func (c command) run(ctx context.Context) (usage, error) {
	unix.Sync()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...) //nolint:gosec // the programs compared
	cmd.Env, cmd.Dir = append(os.Environ(), c.env...), c.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	u := usage{Wall: time.Since(began).Seconds()}
	if err != nil {
		return u, fmt.Errorf("%s: %w: %s", strings.Join(c.args, " "), err, last(errs.String()))
	}
	u.User, u.System = cmd.ProcessState.UserTime().Seconds(), cmd.ProcessState.SystemTime().Seconds()
	if bytes.HasPrefix(out.Bytes(), []byte("{\"peak\"")) {
		err = json.Unmarshal(out.Bytes(), &u.report)
	}
	return u, err
}

// last is the end of what a program complained of.
func last(text string) string {
	text = strings.TrimSpace(text)
	return text[max(0, len(text)-500):]
}
