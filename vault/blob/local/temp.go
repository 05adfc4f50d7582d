package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/vault/blob"
)

// temp is a file on its way to become a blob. Its writer holds a lock on it as
// long as it lives, so that a sweep can tell a dead writer's file from a live one's.
type temp struct {
	f    *os.File
	path string
}

func (s *Storage) newTemp() (*temp, error) {
	for range 16 {
		var raw [12]byte
		_, _ = rand.Read(raw[:]) // never fails
		path := filepath.Join(s.root, tempDir, hex.EncodeToString(raw[:]))
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			err = makeDir(filepath.Dir(path))
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		t := &temp{f: f, path: path}
		if t.lock() {
			return t, nil
		}
		if err := t.close(); err != nil { // a sweep came between creation and lock
			return nil, err
		}
	}
	return nil, errors.New("no temporary file could be kept")
}

func (t *temp) lock() bool {
	fd := int(t.f.Fd())
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Nlink > 0
}

func (t *temp) write(ctx context.Context, data []byte) error {
	const step = 4 << 20 // so that a cancelled write of a large blob ends soon
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := t.f.Write(data[:min(step, len(data))])
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return t.f.Sync()
}

// publish gives the file its final name, which must be free.
func (t *temp) publish(root, path string) error {
	dir := filepath.Dir(path)
	for range 16 {
		if err := makeDir(dir); err != nil {
			return err
		}
		err := renameNew(t.path, path)
		if errors.Is(err, fs.ErrNotExist) { // a delete took the empty directory away
			continue
		}
		if errors.Is(err, fs.ErrExist) {
			return blob.ErrExists
		}
		if err != nil {
			return err
		}
		t.path = ""
		return syncUp(root, dir)
	}
	return fmt.Errorf("directory %s does not stay", dir)
}

// close ends the file, and removes it if it was not published.
func (t *temp) close() error {
	var err error
	if t.path != "" {
		err = os.Remove(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, t.f.Close())
}

func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// The file system lacks it; a hard link refuses to replace as well.
		if err = os.Link(from, to); err == nil {
			err = os.Remove(from)
		}
	}
	return err
}

// sweep removes the temporary files whose writers are dead: theirs are the locks
// that can be had.
func (s *Storage) sweep() error {
	dir := filepath.Join(s.root, tempDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sweep temporary files: %w", err)
	}
	for _, e := range entries {
		if err := sweepOne(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("sweep temporary files: %w", err)
		}
	}
	return nil
}

func sweepOne(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // its writer lives
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// makeDir is MkdirAll whose new directories survive a power cut.
func makeDir(dir string) error {
	fi, err := os.Stat(dir)
	if err == nil {
		if !fi.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		if errors.Is(err, fs.ErrNotExist) { // the parent was empty and a delete took it
			return nil // publish looks again
		}
		return err
	}
	if err := syncDir(parent); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncUp makes a new name durable, and the directories that lead to it: another
// writer may have made one of them and not come to sync it yet.
func syncUp(root, dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		// Gone means that the blob was deleted already.
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if dir == root {
			return nil
		}
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
