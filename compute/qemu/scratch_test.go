//go:build vm

package qemu

import (
	"errors"
	"testing"
	"time"

	"holdfast/compute"
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
