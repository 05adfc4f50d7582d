//go:build vm

package qemu

import (
	"context"
	"io"
	"strings"
	"testing"

	"holdfast/compute"
)

// writeLimit is the greatest limit of any of the guest's disks, as the
// hypervisor tells it.
func writeLimit(ctx context.Context, s *session) (int64, error) {
	var list []struct {
		Inserted *struct {
			Limit int64 `json:"bps_wr"`
		} `json:"inserted"`
	}
	err := s.Execute(ctx, "query-block", nil, &list)
	most := int64(0)
	for _, b := range list {
		if b.Inserted != nil {
			most = max(most, b.Inserted.Limit)
		}
	}
	return most, err
}

func limitIs(t *testing.T, d *Driver, id string, want int64) bool {
	t.Helper()
	var got int64
	err := converse(t, d, id, func(ctx context.Context, s *session) (err error) {
		got, err = writeLimit(ctx, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got == want
}

// TestThrottle: a guest whose writes are limited for a point in time is free
// again when the point ends or is given up, and when the one who limited it, its
// guard, or both are killed.
func TestThrottle(t *testing.T) {
	cfg := testConfig(t)
	cfg.ScratchLimit = 2 * mib
	d := open(t, cfg)
	m := machine(16*mib, mib)
	define(t, d, m, true)
	const limit = 64 * mib
	take := func(p compute.Point) compute.Handle {
		t.Helper()
		h, err := d.Begin(t.Context(), compute.PointRequest{Machine: m.ID, Point: p, WriteBytesPerSecond: limit}, func(compute.Handle) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if !limitIs(t, d, m.ID, limit) {
			t.Fatal("the guest is not limited")
		}
		return h
	}
	end(t, d, take("01a.1"), compute.Committed)
	if !limitIs(t, d, m.ID, 0) {
		t.Error("the guest is limited after the end")
	}

	h := take("01b.1")
	src, err := d.Open(t.Context(), h, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	guest(t, d, m.ID, "disk0", "write -P 2 4M 8M")
	eventually(t, "the point to be given up, and the limit with it", func() bool { return limitIs(t, d, m.ID, 0) })
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	end(t, d, h, compute.Abandoned)

	t.Run("killed", func(t *testing.T) {
		last, _ := killedAt(t, cfg, "qemu.begin.access")
		if last.WriteBytesPerSecond != limit {
			t.Errorf("saved %+v", last)
		}
		eventually(t, "the guest to be free", func() bool { return limitIs(t, d, m.ID, 0) })
		end(t, d, last, compute.Abandoned)
	})
	t.Run("killed with its guard", func(t *testing.T) {
		last, _ := killedAt(t, cfg, "qemu.begin.access", "watchdog")
		if !limitIs(t, d, m.ID, limit) {
			t.Error("somebody else has freed the guest: this shows nothing")
		}
		end(t, d, last, compute.Abandoned)
		if !limitIs(t, d, m.ID, 0) {
			t.Error("the guest is limited after the successor's end")
		}
	})
	t.Run("recovered", func(t *testing.T) {
		last, _ := killedAt(t, cfg, "begun")
		eventually(t, "the guest to be free", func() bool { return limitIs(t, d, m.ID, 0) })
		if err := d.Recover(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		if !limitIs(t, d, m.ID, limit) {
			t.Error("the successor reads on without the limit")
		}
		end(t, d, last, compute.Abandoned)
		if !limitIs(t, d, m.ID, 0) {
			t.Error("the guest is limited after the end")
		}
	})
	if err := RunWatchdog([]string{dogUnthrottle, "/nowhere", "disk0"}, strings.NewReader(""), io.Discard); err == nil {
		t.Error("a guard that frees nobody says nothing")
	}
}
