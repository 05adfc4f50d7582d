package service

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Small mounts a file system of its own, of so many bytes, for the length of
// the test. It must be made before the service that is to use it.
func Small(t testing.TB, size string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hfs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("holdfast-test", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711,size="+size); err != nil {
		t.Fatalf("mount a small file system: %v; run as root, with the right to mount: sudo --preserve-env=PATH make test-guests", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Fill takes all of the space of a small file system but leave bytes, until
// free is called.
func Fill(t testing.TB, dir string, leave int64) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path) // #nosec G304 -- our own directory
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	err = unix.Statfs(dir, &st)
	if size := int64(st.Bavail)*st.Bsize - leave; err == nil && size > 0 { // #nosec G115 -- a small file system
		err = unix.Fallocate(int(f.Fd()), 0, 0, size) // #nosec G115 -- a descriptor fits
	}
	if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
}
