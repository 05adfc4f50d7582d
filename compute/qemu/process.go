package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a process that cannot be mistaken for a later one with its number.
type process struct {
	PID int `json:"pid"`
	// Ticks since boot at which it started.
	Ticks uint64 `json:"ticks"`
	// Boot is the id of the host's boot.
	Boot string `json:"boot"`
}

var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// identify says which process has the number now. A zombie is gone.
func identify(pid int) (process, bool) {
	p, state := look(pid)
	return p, state != gone && state != zombie
}

// States of a process as far as they matter here.
const (
	gone = iota
	zombie
	lives
)

func look(pid int) (process, int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, gone
	}
	// The name in parentheses may contain anything; fields follow the last one.
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 {
		return process{}, gone
	}
	ticks, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return process{}, gone
	}
	p := process{PID: pid, Ticks: ticks, Boot: bootID()}
	if f[0] == "Z" || f[0] == "X" {
		return p, zombie
	}
	return p, lives
}

func (p process) alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, state := look(p.PID)
	if now != p || state == gone {
		return false
	}
	if state == zombie {
		// Its other threads may have the disks open for a moment longer.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return p.wait(ctx) != nil
	}
	return true
}

// started is the wall clock time at which the process started. Boot time comes
// from the kernel, which says the same at each call; the difference of two
// clocks read now would not.
func (p process) started() time.Time {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(b)) {
		text, ok := strings.CutPrefix(line, "btime ")
		if !ok {
			continue
		}
		boot, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return time.Time{}
		}
		const hz = 100                                    // USER_HZ of every Linux that Go runs on
		up := time.Duration(p.Ticks) * (time.Second / hz) //nolint:gosec // since boot
		return time.Unix(boot, 0).Add(up)
	}
	return time.Time{}
}

// wait returns when the process is gone with all its threads; a zombie that
// nobody reaps is.
func (p process) wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if now, state := look(p.PID); state == gone || now != p {
		if err == nil {
			_ = unix.Close(fd)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("qemu: waiting for process %d: %w", p.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
		n, err := unix.Poll(fds, 100)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("qemu: waiting for process %d: %w", p.PID, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// kill ends the process by force and returns when it is gone.
func (p process) kill(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	// Between the check and the signal the number could only be given anew if
	// the process ended and all numbers were used up in microseconds.
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("qemu: ending process %d: %w", p.PID, err)
	}
	return p.wait(ctx)
}
