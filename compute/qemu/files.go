package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"holdfast/compute"
)

// writeJSON replaces a file atomically and durably.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // paths of checked ids
	if err != nil {
		return noSpace(fmt.Errorf("qemu: %w", err))
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return noSpace(errors.Join(fmt.Errorf("qemu: %w", err), removeAll(path+".new")))
	}
	return nil
}

// syncFile makes durable what anyone wrote to a file.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // paths of checked ids
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return noSpace(fmt.Errorf("qemu: flush of %s: %w", path, err))
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // paths of checked ids
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// noSpace adds compute.ErrNoSpace to what the kernel said of a full disk.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", compute.ErrNoSpace, err)
	}
	return err
}

// give makes a file or directory the hypervisor's own.
func (d *Driver) give(path string, mode os.FileMode) error {
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	if u := d.cfg.User; u != nil {
		if err := os.Lchown(path, int(u.UID), int(u.GID)); err != nil {
			return fmt.Errorf("qemu: %w", err)
		}
	}
	return nil
}

// passable makes a directory of ours that the hypervisor passes through.
func passable(path string) error {
	if err := os.MkdirAll(path, 0o711); err != nil { //nolint:gosec // passed through by another user
		return noSpace(fmt.Errorf("qemu: %w", err))
	}
	return nil
}

// ownDir makes a directory for the hypervisor alone (and us).
func (d *Driver) ownDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return noSpace(fmt.Errorf("qemu: %w", err))
	}
	return d.give(path, 0o700)
}

// readTail reads the last n bytes of a file, at most.
func readTail(path string, n int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0) //nolint:gosec // paths of checked ids
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	off := max(0, fi.Size()-n)
	b := make([]byte, min(n, fi.Size()))
	k, err := f.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:k], nil
}
