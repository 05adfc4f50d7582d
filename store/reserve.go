package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// reserveBytes is enough for SQLite's log of many small transactions: it is
// written over from its beginning after about 4 MiB.
const reserveBytes = 16 << 20

// restoreEvery bounds how often the reserve is tried to be put back.
const restoreEvery = time.Second

// reserve is a file of real blocks next to the database. On a full disk it is
// given up, so that deletions, which need space too before they free any, still
// work. Until it is back, nothing else may use the space it left.
type reserve struct {
	path string
	size int64

	mu   sync.Mutex
	held bool
	next time.Time // not to be tried again before
}

func newReserve(path string, size int64) *reserve { return &reserve{path: path, size: size} }

// restore makes sure that the reserve is in place; ErrFull when it cannot be.
func (r *reserve) restore() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held || r.size == 0 {
		return nil
	}
	if time.Now().Before(r.next) {
		return fmt.Errorf("%w: its reserve is in use", ErrFull)
	}
	r.next = time.Now().Add(restoreEvery)
	if err := r.create(); err != nil {
		return fmt.Errorf("store: reserve: %w", classify(err))
	}
	r.held = true
	return nil
}

// create writes the file aside, so that one that exists is a whole one.
func (r *reserve) create() (err error) {
	if fi, err := os.Stat(r.path); err == nil && fi.Size() == r.size {
		return nil
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(r.path), &fsys); err != nil {
		return err
	}
	// Leave room for the database itself, else its next write takes the reserve.
	if free := int64(fsys.Bavail) * fsys.Bsize; free < r.size+r.size/4 { //nolint:gosec // a file system is smaller than 8 EiB
		return unix.ENOSPC
	}
	tmp := r.path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp) // what is left is written over the next time
		}
	}()
	if err := errors.Join(allocate(f, r.size), f.Close()); err != nil {
		return err
	}
	err = os.Rename(tmp, r.path)
	if errors.Is(err, fs.ErrNotExist) { // another process has put it in its place
		return nil
	}
	return err
}

// allocate gives f size bytes of real blocks.
func allocate(f *os.File, size int64) error {
	var err error
	for {
		if err = unix.Fallocate(int(f.Fd()), 0, 0, size); !errors.Is(err, unix.EINTR) { //nolint:gosec // a descriptor fits
			break
		}
	}
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	_, err = io.CopyN(f, zeros{}, size)
	return errors.Join(err, f.Sync())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// release gives the space up.
func (r *reserve) release() error {
	if r.size == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = false
	r.next = time.Now().Add(restoreEvery)
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: reserve: %w", err)
	}
	return nil
}
