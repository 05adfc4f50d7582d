//go:build faults

package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

var mu sync.Mutex // of the directory's files

// At is a place. At the one that HOLDFAST_FAULT names, the process ends as by
// SIGKILL. With HOLDFAST_FAULTS it is recorded, and the one that is asked for is
// waited at, once, until somebody says to go on or kills the process.
func At(place string) {
	if os.Getenv("HOLDFAST_FAULT") == place {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing after the place is done
	}
	dir := os.Getenv("HOLDFAST_FAULTS")
	if dir == "" || !reached(dir, place) {
		return
	}
	for { // files have no event here that is worth its code
		if os.Remove(filepath.Join(dir, Go)) == nil { // #nosec G703 -- a test's
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// reached records the place, and says whether to wait at it.
func reached(dir, place string) bool {
	mu.Lock()
	defer mu.Unlock()
	f, err := os.OpenFile(filepath.Join(dir, Trace), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600) // #nosec G304 G703 -- a test's
	if err != nil {
		panic(err)
	}
	_, err = f.WriteString(place + "\n")
	if cerr := f.Close(); err != nil || cerr != nil {
		panic("fault: the trace cannot be written")
	}
	halt, err := os.ReadFile(filepath.Join(dir, Halt)) // #nosec G304 G703 -- a test's
	if err != nil {
		return false
	}
	all, err := os.ReadFile(filepath.Join(dir, Trace)) // #nosec G304 G703 -- a test's
	if err != nil {
		panic(err)
	}
	passes := 0
	for line := range strings.Lines(string(all)) {
		if line == place+"\n" {
			passes++
		}
	}
	if string(halt) != fmt.Sprintf("%s %d", place, passes) {
		return false
	}
	return os.Rename(filepath.Join(dir, Halt), filepath.Join(dir, Hit)) == nil // #nosec G703 -- a test's
}
