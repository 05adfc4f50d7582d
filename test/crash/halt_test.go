package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/vmtest"
)

// halts is the directory through which the service is told where to wait.
type halts string

func (h halts) file(name string) string { return filepath.Join(string(h), name) }

// arm begins a new trace, and has the service wait at a pass of a place; "" is
// none.
func (h halts) arm(t *testing.T, place string) {
	t.Helper()
	for _, name := range []string{fault.Trace, fault.Halt, fault.Hit, fault.Go} {
		if err := os.Remove(h.file(name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if place == "" {
		return
	}
	if err := os.WriteFile(h.file(fault.Halt), []byte(place), 0o600); err != nil {
		t.Fatal(err)
	}
}

// disarm forgets the place, if it was not reached.
func (h halts) disarm(t *testing.T) {
	t.Helper()
	if err := os.Remove(h.file(fault.Halt)); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

func (h halts) hit() bool {
	_, err := os.Stat(h.file(fault.Hit))
	return err == nil
}

// goOn ends the waiting.
func (h halts) goOn(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(h.file(fault.Go), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// passed are the places since arm, each with the number of the pass, as they are
// asked for.
func (h halts) passed(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(h.file(fault.Trace))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var all []string
	count := map[string]int{}
	for place := range strings.Lines(string(text)) {
		place = strings.TrimSpace(place)
		count[place]++
		all = append(all, fmt.Sprintf("%s %d", place, count[place]))
	}
	return all
}

// await waits until something is so that has no event.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// hypervisors are the processes of all machines: QEMUs, and the daemons that
// serve disks of machines that do not run.
func (w *stepped) hypervisors(t *testing.T) []vmtest.Process {
	t.Helper()
	all, err := vmtest.Strays(w.Dir + "/")
	if err != nil {
		t.Fatal(err)
	}
	var found []vmtest.Process
	for _, p := range all {
		if strings.HasPrefix(p.Cmdline, "qemu-") {
			found = append(found, p)
		}
	}
	return found
}

// killHypervisors ends all of them as a crash does, if there are any.
func (w *stepped) killHypervisors(t *testing.T) (n int) {
	t.Helper()
	all := w.hypervisors(t)
	for _, p := range all {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && err != syscall.ESRCH { //nolint:errorlint // an errno
			t.Fatal(err)
		}
	}
	await(t, "the killed processes to be gone", func() bool {
		for _, p := range all {
			left, err := vmtest.Strays(w.Dir + "/")
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range left {
				if l.PID == p.PID {
					return false
				}
			}
		}
		return true
	})
	return len(all)
}
