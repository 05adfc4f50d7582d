package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast"
	"holdfast/internal/testpg"
	"holdfast/store"
)

const onSmallDisk = "HOLDFAST_TEST_SMALL_DISK"

// TestFullDisk runs fullDisk on a file system of 32 MiB, mounted where only it
// sees it: in a mount namespace of its own, and a user namespace when it is not
// root's.
func TestFullDisk(t *testing.T) {
	if testpg.On() {
		return // of SQLite's files
	}
	if dir := os.Getenv(onSmallDisk); dir != "" {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=32m,mode=0700"); err != nil {
			t.Fatal(err)
		}
		fullDisk(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), onSmallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestFullDisk") {
		t.Fatalf("needs mount namespaces, which containers need CAP_SYS_ADMIN for: %v\n%s", err, out)
	}
}

// fullDisk: on a full disk nothing new begins, what must work works, and when
// there is space again all is as it was.
func fullDisk(t *testing.T, dir string) {
	ctx := t.Context()
	path := filepath.Join(dir, "DB")
	s := openAt(t, path)
	w := newWorld(t, s)
	v := w.vps(t)
	b := w.backup(v)
	b.Status = holdfast.BackupDeleted
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertVPS(ctx, v), tx.InsertBackup(ctx, b))
	})
	if fi, err := os.Stat(path + ".reserve"); err != nil || fi.Sys().(*syscall.Stat_t).Blocks*512 < 16<<20 {
		t.Fatalf("the reserve has no real blocks: %v, %v", fi, err)
	}

	// Something else takes all that is left.
	hog := filepath.Join(dir, "hog")
	fill(t, hog)
	n := 0
	grow := func() error {
		n++
		return s.Tx(ctx, func(tx *store.Tx) error { return tx.PutMeta(ctx, fmt.Sprint(n), make([]byte, 64<<10)) })
	}
	if err := fails(grow, 1000); !errors.Is(err, store.ErrFull) {
		t.Fatalf("growing on a full disk: %v", err)
	}

	// Deleting still works: queue, claim, keep, end.
	urgent := func(fn func(tx *store.Tx) error) {
		t.Helper()
		if err := s.TxUrgent(ctx, fn); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		o := w.operation(v, holdfast.KindBackupDelete, holdfast.LockNone)
		urgent(func(tx *store.Tx) error { return tx.InsertOperation(ctx, o) })
		urgent(func(tx *store.Tx) error {
			_, err := tx.ClaimOperation(ctx, w.host.ID, []holdfast.Kind{o.Kind}, "r", time.Minute)
			return err
		})
		h := store.Held{Job: o.ID, Epoch: 1, Runner: "r"}
		for range 20 {
			urgent(func(tx *store.Tx) error {
				_, err := tx.RenewOperation(ctx, h, time.Minute, holdfast.Progress{Current: int64(i)})
				return err
			})
		}
		urgent(func(tx *store.Tx) error { return tx.PutJournal(ctx, h, "step", []byte(`{}`)) })
		urgent(func(tx *store.Tx) error { return tx.EndOperation(ctx, h, []byte(`{}`), nil) })
	}
	urgent(func(tx *store.Tx) error { return tx.DeleteBackup(ctx, b.ID) })

	// What the reserve freed is not for others.
	if err := fails(grow, 1); !errors.Is(err, store.ErrFull) {
		t.Errorf("ordinary writes used the reserve: %v", err)
	}
	if _, err := os.Stat(path + ".reserve"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve was not given up: %v", err)
	}

	// With space again, the reserve is put back before anything else.
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for err := grow(); err != nil; err = grow() {
		if !errors.Is(err, store.ErrFull) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path + ".reserve"); err != nil {
		t.Error(err)
	}
}

// fails tries up to n times, until it fails.
func fails(try func() error, n int) error {
	for range n {
		if err := try(); err != nil {
			return err
		}
	}
	return nil
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(buf)
	}
	if cerr := f.Close(); !errors.Is(err, syscall.ENOSPC) || cerr != nil {
		t.Fatal(err, cerr)
	}
}

// A database that opens on a full disk serves what is there.
func TestReserveCannotBeMadeAtOpen(t *testing.T) {
	if testpg.On() {
		return // of SQLite's files
	}
	s := openAt(t, filepath.Join(t.TempDir(), "DB"), store.WithReserve(1<<50))
	if _, err := s.Accounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := s.Tx(t.Context(), func(tx *store.Tx) error { return tx.PutMeta(t.Context(), "x", nil) })
	if !errors.Is(err, store.ErrFull) {
		t.Errorf("an ordinary write without a reserve: %v", err)
	}
	if err := s.TxUrgent(t.Context(), func(tx *store.Tx) error { return tx.PutMeta(t.Context(), "x", []byte{}) }); err != nil {
		t.Error(err)
	}
}
