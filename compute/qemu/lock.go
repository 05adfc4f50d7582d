package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
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
	late := time.NewTimer(d.cfg.LockWait)
	defer late.Stop()
	busy := fmt.Errorf("qemu: machine %s: %w", id, compute.ErrBusy)
	leave, ok := d.queue.enter(ctx, id, late.C)
	if !ok {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, busy
	}
	for {
		f, err := tryLock(d.lockPath(id))
		if err != nil {
			leave()
			return nil, fmt.Errorf("qemu: lock of %s: %w", id, err)
		}
		if f != nil {
			return func() {
				d.unlock(f, id)
				leave()
			}, nil
		}
		// A blocking flock could not be left when ctx ends.
		select {
		case <-ctx.Done():
			leave()
			return nil, ctx.Err()
		case <-late.C:
			leave()
			return nil, busy
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// unlock takes the lock's file away with it where there is no machine: none is
// left by a call that comes after the machine's deletion.
func (d *Driver) unlock(f *os.File, id string) {
	if _, err := os.Stat(d.dir(id)); errors.Is(err, os.ErrNotExist) && isPathOf(d.lockPath(id), f) {
		_ = os.Remove(d.lockPath(id)) // an empty file, and the next to lock tries again
	}
	_ = f.Close() // unlocks, whatever it says
}

// isPathOf reports whether a path is that of an open file.
func isPathOf(path string, f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(mine, named)
}

// tryLock returns nil when somebody else has the lock.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // of a checked id
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor
	if err == nil && isPathOf(path, f) {                              // it may have been unlinked since it was opened
		return f, nil
	}
	if cerr := f.Close(); cerr != nil {
		return nil, cerr
	}
	if errors.Is(err, syscall.EWOULDBLOCK) || err == nil {
		return nil, nil
	}
	return nil, err
}

// queue lets those of this process that want the same machine in one by one,
// first come, first served: flock alone is not fair.
type queue struct {
	mu    sync.Mutex
	doors map[string]*door
}

type door struct {
	inside chan struct{}
	wanted int
}

func (q *queue) enter(ctx context.Context, id string, late <-chan time.Time) (leave func(), ok bool) {
	q.mu.Lock()
	if q.doors == nil {
		q.doors = map[string]*door{}
	}
	dr := q.doors[id]
	if dr == nil {
		dr = &door{inside: make(chan struct{}, 1)}
		q.doors[id] = dr
	}
	dr.wanted++
	q.mu.Unlock()
	forget := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if dr.wanted--; dr.wanted == 0 {
			delete(q.doors, id)
		}
	}
	select {
	case dr.inside <- struct{}{}:
		return func() { <-dr.inside; forget() }, true
	case <-ctx.Done():
	case <-late:
	}
	forget()
	return nil, false
}
