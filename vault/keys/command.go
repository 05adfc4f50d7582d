package keys

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	commandTime   = 30 * time.Second
	commandLinger = time.Second // for what a killed command has left behind
)

// ErrCommand says that a command did not print a master key. What the command
// printed is never part of the error, for it may hold the key.
var ErrCommand = errors.New("the command gave no master key")

// RunMasterKey gets the master key from a command: a program and its arguments,
// run without a shell in the environment given. It prints what a key file holds,
// the printed form alone, or either in base64, as key services return it. It has
// 30 seconds and 4096 bytes, and no input. What it says on standard error is
// dropped: tools repeat there what they were given.
func RunMasterKey(ctx context.Context, argv, environ []string) (MasterKey, error) {
	return runMasterKey(ctx, argv, environ, commandTime)
}

func runMasterKey(ctx context.Context, argv, environ []string, limit time.Duration) (MasterKey, error) {
	if len(argv) == 0 {
		return MasterKey{}, fmt.Errorf("%w: no command", ErrCommand)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) // #nosec G204 -- the operator's configuration names it
	out := &bounded{full: cancel}
	defer out.forget()
	cmd.Stdout, cmd.Env, cmd.Dir = out, append([]string{}, environ...), "/"
	// Its children die with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = commandLinger
	err := cmd.Run()
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case out.over:
		return MasterKey{}, fmt.Errorf("%w: %s printed more than %d bytes", ErrCommand, argv[0], masterMaxFile)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return MasterKey{}, fmt.Errorf("%w: %s did not end within %v", ErrCommand, argv[0], limit)
	case ctx.Err() != nil:
		return MasterKey{}, context.Cause(ctx)
	case failed:
		return MasterKey{}, fmt.Errorf("%w: %s ended with %v; run it by hand to see why", ErrCommand, argv[0], exit.ProcessState)
	case err != nil: // it could not be started, or left a child at work
		return MasterKey{}, fmt.Errorf("%w: %w", ErrCommand, err)
	}
	k, ok := parsePrinted(out.data)
	if !ok {
		return MasterKey{}, fmt.Errorf("%w: %s printed something else", ErrCommand, argv[0])
	}
	return k, nil
}

// parsePrinted reads a master key from what a command printed.
func parsePrinted(text []byte) (MasterKey, bool) {
	if k, ok := parseMasterText(text); ok {
		return k, true
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	defer clear(plain)
	if err != nil {
		return MasterKey{}, false
	}
	return parseMasterText(plain)
}

func parseMasterText(text []byte) (MasterKey, bool) {
	if k, ok := parseMaster(bytes.TrimSpace(text)); ok {
		return k, true
	}
	key, err := parseKey(masterHeader, string(text))
	return MasterKey{key}, err == nil && !key.IsZero()
}

// bounded keeps what a command prints, up to the size of a key file.
type bounded struct {
	data []byte
	over bool
	full func() // ends the command
}

// Write refuses, and ends the command, when there is too much.
func (b *bounded) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > masterMaxFile {
		b.over = true
		b.full()
		return 0, ErrCommand
	}
	if b.data == nil {
		b.data = make([]byte, 0, masterMaxFile) // never moved: forget clears all of it
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

func (b *bounded) forget() { clear(b.data) }
