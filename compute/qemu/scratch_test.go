//go:build vm

package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/disk"
)

// TestScratchLimit: a guest that overwrites more than it may keep copies of
// loses the point in time, and nothing else.
func TestScratchLimit(t *testing.T) {
	d := newDriver(t, func(c *Config) { c.ScratchLimit = 2 * mib })
	m := machine(16*mib, mib)
	define(t, d, m, true)
	guest(t, d, m.ID, "disk0", "write -P 1 0 16M")
	base := begin(t, d, m, "01base.1")
	end(t, d, base, compute.Committed)
	h := begin(t, d, m, "01full.1", "01base.1")
	src, err := d.Open(t.Context(), h, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	guest(t, d, m.ID, "disk0", "write -P 2 4M 8M")
	eventually(t, "the point to be given up", func() bool {
		_, err = src.ReadAt(make([]byte, mib), 0)
		return err != nil
	})
	if !errors.Is(err, compute.ErrPointLost) || !errors.Is(err, compute.ErrScratchExhausted) {
		t.Errorf("got %v", err)
	}
	if err := d.Recover(t.Context(), h); !errors.Is(err, compute.ErrPointLost) {
		t.Errorf("recover: %v", err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	statusIs(t, d, m.ID, compute.Running)
	guest(t, d, m.ID, "disk0", "write -P 3 0 1M")
	end(t, d, h, compute.Abandoned)
	next := begin(t, d, m, "01full.2", "01base.1")
	if next.Disks[0].Parent != "01base.1" {
		t.Errorf("%+v", next.Disks)
	}
	im := image{data: make([]byte, 16*mib)}
	im.update(t, d, next, 0)
	if im.data[0] != 3 || im.data[5*mib] != 2 || im.read != 9*mib {
		t.Errorf("%d bytes read", im.read)
	}
	end(t, d, next, compute.Committed)
}

// TestReleasedIsGivenUp: a guest may overwrite any amount of what was read, but
// it is given up only when space runs short.
func TestReleasedIsGivenUp(t *testing.T) {
	d := newDriver(t, func(c *Config) { c.ScratchLimit = 4 * mib })
	m := machine(16 * mib)
	define(t, d, m, true)
	guest(t, d, m.ID, "disk0", "write -P 1 0 16M")
	h := begin(t, d, m, "01a.1")
	src, err := d.Open(t.Context(), h, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	read := func(off, n int64) {
		t.Helper()
		b := make([]byte, n)
		if _, err := src.ReadAt(b, off); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{1}, int(n))) {
			t.Fatalf("at %d: %v", off, err)
		}
	}
	release := src.(disk.Releaser).Release
	read(0, mib)
	release(0, mib)
	guest(t, d, m.ID, "disk0", "write -P 2 0 1M")
	read(0, mib) // there is room: a successor could go on
	read(mib, 11*mib)
	release(mib, 11*mib)
	release(-1, mib) // a caller's mistakes
	release(16*mib, mib)
	for i := range 12 {
		guest(t, d, m.ID, "disk0", fmt.Sprintf("write -P 2 %dM 1M", i))
		if i == 2 {
			eventually(t, "room to be made", func() bool { return d.scratchUsed(m.ID) <= 2*granule })
		}
	}
	if used := d.scratchUsed(m.ID); used > 2*granule {
		t.Errorf("%d bytes of scratch", used)
	}
	guest(t, d, m.ID, "disk0", "write -P 2 12M 1M")
	read(12*mib, 4*mib) // what was not released
	if _, err := src.ReadAt(make([]byte, 512), mib); !errors.Is(err, errDiscarded) {
		t.Errorf("read of what was given up: %v", err)
	}
	if err := d.Recover(t.Context(), h); err != nil {
		t.Error(err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	statusIs(t, d, m.ID, compute.Running)
	end(t, d, h, compute.Committed)
}

// TestScratchReserve: no point in time is taken where it would take what is to
// stay free, and one that comes to that is given up.
func TestScratchReserve(t *testing.T) {
	d := newDriver(t)
	m := machine(16 * mib)
	define(t, d, m, true)
	h := begin(t, d, m, "01a.1")
	d.cfg.HostScratchLimit = mib
	src, err := d.Open(t.Context(), h, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.cfg.Scratch, &fs); err != nil {
		t.Fatal(err)
	}
	guest(t, d, m.ID, "disk0", "write -P 2 0 4M")
	eventually(t, "the point to be given up", func() bool {
		_, err = src.ReadAt(make([]byte, mib), 0)
		return err != nil
	})
	if !errors.Is(err, compute.ErrScratchExhausted) || !errors.Is(err, compute.ErrPointLost) {
		t.Errorf("got %v", err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	statusIs(t, d, m.ID, compute.Running)
	end(t, d, h, compute.Abandoned)
	d.cfg.HostScratchLimit, d.cfg.ScratchReserve = 0, int64(fs.Blocks)*fs.Bsize
	_, err = d.Begin(t.Context(), compute.PointRequest{Machine: m.ID, Point: "01b.1"}, func(compute.Handle) error { return nil })
	if !errors.Is(err, compute.ErrScratchExhausted) {
		t.Errorf("got %v", err)
	}
	statusIs(t, d, m.ID, compute.Running)
	bitmapsAre(t, d, m.ID)
	d.cfg.ScratchReserve = 0
	end(t, d, begin(t, d, m, "01b.2"), compute.Committed)
}

// TestWhoGivesWay: of several the one that takes most.
func TestWhoGivesWay(t *testing.T) {
	d := newDriver(t, func(c *Config) { c.HostScratchLimit = mib })
	for id, size := range map[string]int{"small": 64 << 10, "large": 2 * mib, "medium": mib} {
		if err := os.MkdirAll(d.scratchDir(id), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(d.scratchDir(id)) })
		if err := os.WriteFile(filepath.Join(d.scratchDir(id), "x.raw"), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for id, gives := range map[string]bool{"small": false, "medium": false, "large": true} {
		if !d.scratchFull(id) || d.mustGive(id) != gives {
			t.Errorf("%s: full %v, gives way %v", id, d.scratchFull(id), d.mustGive(id))
		}
	}
}

// TestDiscardKeepsScratchSmall: what is discarded is not copied any more.
func TestDiscardKeepsScratchSmall(t *testing.T) {
	d := newDriver(t)
	m := machine(16 * mib)
	define(t, d, m, true)
	guest(t, d, m.ID, "disk0", "write -P 1 0 16M")
	h := begin(t, d, m, "01a.1")
	src, err := d.Open(t.Context(), h, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Discard(t.Context(), 0, 16*mib); err != nil {
		t.Fatal(err)
	}
	if _, err := src.ReadAt(make([]byte, 512), mib); !errors.Is(err, errDiscarded) {
		t.Errorf("read of what was discarded: %v", err)
	}
	guest(t, d, m.ID, "disk0", "write -P 2 0 16M")
	if used := d.scratchUsed(m.ID); used > 2*granule {
		t.Errorf("%d bytes of scratch", used)
	}
	if err := d.Recover(t.Context(), h); err != nil {
		t.Errorf("all was discarded, and the point is whole: %v", err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	// A successor knows nothing of that: extents cover the disk all the same,
	// and reading tells.
	var im image
	func() {
		src, err = d.Open(t.Context(), h, "disk0")
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		at := int64(0)
		for e, err := range src.Extents(t.Context()) {
			if err != nil || e.Zero || e.Clean || e.Offset != at {
				t.Fatalf("%+v, %v", e, err)
			}
			at = e.End()
		}
		if _, err := src.ReadAt(make([]byte, 512), mib); at != 16*mib || !errors.Is(err, compute.ErrPointLost) {
			t.Errorf("extents to %d, read: %v", at, err)
		}
	}()
	end(t, d, h, compute.Committed)
	guest(t, d, m.ID, "disk0", "write -P 3 0 64k")
	h = begin(t, d, m, "01b.1", "01a.1")
	im.data = make([]byte, 16*mib)
	im.update(t, d, h, 0)
	if im.data[0] != 3 || im.data[mib] != 2 || im.read != 16*mib {
		t.Errorf("%d bytes read, %d and %d in them", im.read, im.data[0], im.data[mib])
	}
	end(t, d, h, compute.Committed)
}

func TestLockAcrossDrivers(t *testing.T) {
	cfg := testConfig(t)
	cfg.LockWait = 30 * time.Millisecond
	a, b := open(t, cfg), open(t, cfg)
	m := machine(mib)
	define(t, a, m, false)
	unlock, err := a.lock(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Driver{a, b} {
		if _, err := d.Inspect(t.Context(), m.ID); !errors.Is(err, compute.ErrBusy) {
			t.Errorf("got %v", err)
		}
	}
	unlock()
	for _, d := range []*Driver{a, b} {
		statusIs(t, d, m.ID, compute.Stopped)
	}
}

// A call that comes after a machine's deletion, or for one that never was, leaves
// nothing behind.
func TestNoLockWithoutMachine(t *testing.T) {
	d := open(t, testConfig(t))
	m := machine(mib)
	define(t, d, m, false)
	if _, err := os.Stat(d.lockPath(m.ID)); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{m.ID, "never"} {
		if _, err := d.Inspect(t.Context(), id); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(d.lockPath(id)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the lock of %s: %v", id, err)
		}
	}
}
