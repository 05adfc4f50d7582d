//go:build vm

package qemu

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/internal/vmtest"
)

// TestGuestUnderWrites backs up a real Linux that writes to two disks all the
// time: each image is an exact prefix of its log, at one instant.
func TestGuestUnderWrites(t *testing.T) {
	d := newDriver(t)
	m := machine(512*mib, 64*mib, 64*mib)
	url := bootLinux(t, d, &m, "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	name, err := vmtest.Get(ctx, url+"/hostname")
	if err != nil || strings.TrimSpace(name) != "guest" {
		t.Fatalf("hostname %q, %v", name, err)
	}
	if _, err := vmtest.Get(ctx, url+"/log/start?dev=/dev/vdb&dev=/dev/vdc"); err != nil {
		t.Fatal(err)
	}
	images := make([]image, 3)
	var parents []compute.Point
	var entries []uint64
	for round := range 4 {
		h := begin(t, d, m, compute.Point(fmt.Sprintf("01guest%d.1", round)), parents...)
		for i := range images {
			if round > 0 && h.Disks[i].Parent != parents[0] {
				t.Fatalf("%+v", h.Disks[i])
			}
			images[i].update(t, d, h, i)
		}
		if err := d.Recover(ctx, h); err != nil {
			t.Fatal(err)
		}
		before, during, err := d.Latency(ctx, h)
		if err != nil || before.Writes() == 0 || during.Writes() == 0 {
			t.Errorf("writes before: %v, during: %v, %v", before, during, err)
		}
		t.Logf("99 of 100 writes before: %v, during: %v, of %d and %d", before.Quantile(0.99), during.Quantile(0.99), before.Writes(), during.Writes())
		end(t, d, h, compute.Committed)
		parents = append([]compute.Point{h.Point}, parents...)
		result, err := vmtest.VerifyLog(bytes.NewReader(images[1].data), bytes.NewReader(images[2].data))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		entries = append(entries, result.Last[0])
		t.Logf("round %d: %d, %d, %d KiB read, %+v", round, images[0].read>>10, images[1].read>>10, images[2].read>>10, result)
	}
	if entries[3] <= entries[0] {
		t.Errorf("the guest did not write: %v", entries)
	}
	latency, err := vmtest.Get(ctx, url+"/log/latency")
	t.Logf("latency: %s %v", latency, err)
	// The guest hears its power button, and the log goes on as it was.
	if err := d.Stop(ctx, m.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	statusIs(t, d, m.ID, compute.Stopped)
	h := begin(t, d, m, "01guest9.1", parents...)
	if h.Disks[1].Parent != parents[0] {
		t.Errorf("after a stop in order: %+v", h.Disks)
	}
	readers := make([]io.ReaderAt, 2)
	for i := range images {
		images[i].update(t, d, h, i)
		if i > 0 {
			readers[i-1] = bytes.NewReader(images[i].data)
		}
	}
	if _, err := vmtest.VerifyLog(readers...); err != nil {
		t.Error(err)
	}
	end(t, d, h, compute.Committed)
}
