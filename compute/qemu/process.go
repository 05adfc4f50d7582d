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
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The name in parentheses may contain anything; fields follow the last one.
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return process{}, false
	}
	ticks, err := strconv.ParseUint(f[19], 10, 64)
	return process{PID: pid, Ticks: ticks, Boot: bootID()}, err == nil
}

func (p process) alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, ok := identify(p.PID)
	return ok && now == p
}

// started is the wall clock time at which the process started.
func (p process) started() time.Time {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}
	}
	const hz = 100                                    // USER_HZ of every Linux that Go runs on
	up := time.Duration(p.Ticks) * (time.Second / hz) //nolint:gosec // since boot
	return time.Now().Add(up - time.Duration(now.Nano())).Truncate(time.Second)
}

// wait returns when the process is gone.
func (p process) wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) || !p.alive() {
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
