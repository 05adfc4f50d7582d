package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"holdfast/compute"
)

// lock takes the exclusive right to a conversation with a machine, among all
// processes of this host; the kernel returns it when one dies. It waits for
// LockWait (ErrBusy) or until ctx ends.
func (d *Driver) lock(ctx context.Context, id string) (unlock func(), err error) {
	if err := checkID(id); err != nil {
		return nil, errors.Join(compute.ErrNotFound, err)
	}
	deadline := time.Now().Add(d.cfg.LockWait)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		f, err := tryLock(d.lockPath(id))
		if err != nil {
			return nil, fmt.Errorf("qemu: lock of %s: %w", id, err)
		}
		if f != nil {
			return func() { _ = f.Close() }, nil // closing unlocks, whatever it says
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("qemu: machine %s: %w", id, compute.ErrBusy)
		}
		// A blocking flock could not be left when ctx ends.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// tryLock returns nil when somebody else has the lock.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // of a checked id
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor
	if err == nil {
		// Delete unlinks the file while it has the lock: the one we have may be gone.
		var mine, named os.FileInfo
		if mine, err = f.Stat(); err == nil {
			if named, err = os.Stat(path); err == nil && os.SameFile(mine, named) {
				return f, nil
			}
		}
	}
	if cerr := f.Close(); cerr != nil {
		return nil, cerr
	}
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) || err == nil {
		return nil, nil
	}
	return nil, err
}
