package vmtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Process is one that runs.
type Process struct {
	PID     int
	Cmdline string
}

// String is what a test's failure should show.
func (p Process) String() string { return fmt.Sprintf("%d: %s", p.PID, p.Cmdline) }

// Strays lists the running processes, other than this one, whose command line
// contains directory. Zombies do not count: they are gone but not yet waited
// for by their parent.
func Strays(directory string) ([]Process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, path := range paths {
		// A process may end at any moment, and a zombie's command line is empty.
		raw, err := os.ReadFile(path) //nolint:gosec // under /proc
		if err != nil || !bytes.Contains(raw, []byte(directory)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		line := strings.TrimSpace(strings.ReplaceAll(string(raw), "\x00", " "))
		found = append(found, Process{PID: pid, Cmdline: line})
	}
	return found, nil
}

// NoStrays fails the test if processes whose command line contains directory
// still run after the time that a killed process may take to go.
func NoStrays(t testing.TB, directory string) {
	t.Helper()
	const patience = 5 * time.Second
	for deadline := time.Now().Add(patience); ; {
		left, err := Strays(directory)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes left behind: %v", left)
		}
		// Foreign processes cannot be waited for; there is no event to wait on.
		time.Sleep(20 * time.Millisecond)
	}
}
