//go:build vm

package qemu

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"holdfast/compute"
)

// TestCutReshapeAnywhere cuts each change off at each of its places: a backup taken
// then, as the machine is, and one after the change was repeated tell no lies.
func TestCutReshapeAnywhere(t *testing.T) {
	cfg := testConfig(t)
	d := open(t, cfg)
	const size = 4 * mib
	grow := func(ctx context.Context, d *Driver, id string) error { return d.Grow(ctx, id, "disk0", 2*size) }
	add := func(ctx context.Context, d *Driver, id string) error {
		return d.AddDisk(ctx, id, compute.Disk{Name: "disk2", SizeBytes: mib})
	}
	drop := func(ctx context.Context, d *Driver, id string) error { return d.RemoveDisk(ctx, id, "disk1") }
	for _, c := range []struct {
		place  string
		live   bool
		change func(context.Context, *Driver, string) error
		disks  int // afterwards
	}{
		{"qemu.reshape.listed", true, grow, 2},
		{"qemu.reshape.grown", true, grow, 2},
		{"qemu.reshape.listed", false, grow, 2},
		{"qemu.reshape.grown", false, grow, 2},
		{"qemu.reshape.made", false, add, 3},
		{"qemu.reshape.unlisted", false, drop, 1},
	} {
		t.Run(fmt.Sprintf("%s/live=%v", c.place, c.live), func(t *testing.T) {
			m := machine(size, mib)
			define(t, d, m, true)
			defer func() {
				if err := d.Delete(t.Context(), m.ID); err != nil {
					t.Error(err)
				}
				noTraces(t, cfg)
			}()
			now := make(model, size)
			now.write(t, d, m.ID, "disk0", 1, 0, mib)
			var im image
			h := begin(t, d, m, "01base.1")
			im.update(t, d, h, 0)
			end(t, d, h, compute.Committed)
			now.write(t, d, m.ID, "disk0", 2, 2*mib, granule)
			if !c.live {
				if err := d.Stop(t.Context(), m.ID, 0); err != nil {
					t.Fatal(err)
				}
			}
			if !cutOff(t, cfg, c.place, func(d *Driver) { _ = c.change(t.Context(), d, m.ID) }) {
				t.Fatal("the place was not reached")
			}
			proof := func(p compute.Point, parents ...compute.Point) compute.Handle {
				t.Helper()
				h := begin(t, d, m, p, parents...)
				now = slices.Concat(now, make(model, h.Disks[0].SizeBytes-int64(len(now))))
				im.data = append(im.data, make([]byte, len(now)-len(im.data))...)
				im.update(t, d, h, 0)
				if !bytes.Equal(im.data, now) {
					t.Fatalf("the image differs at %d", firstDifference(im.data, now))
				}
				end(t, d, h, compute.Committed)
				return h
			}
			proof("01cut.1", "01base.1")
			if err := c.change(t.Context(), d, m.ID); err != nil {
				t.Fatal(err)
			}
			if !c.live {
				if err := d.Start(t.Context(), m.ID); err != nil {
					t.Fatal(err)
				}
			}
			now.write(t, d, m.ID, "disk0", 3, 3*mib, granule)
			h = proof("01next.1", "01cut.1", "01base.1")
			if len(h.Disks) != c.disks || h.Disks[0].Parent != "01cut.1" {
				t.Errorf("%+v", h.Disks)
			}
		})
	}
}

// cutOff ends what do does at a place, and says whether it was reached.
func cutOff(t *testing.T, cfg Config, place string, do func(d *Driver)) (hit bool) {
	t.Helper()
	cut := open(t, cfg)
	cut.fault = func(at string) {
		if at == place {
			hit = true
			runtime.Goexit()
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(cut)
	}()
	<-done
	return hit
}
