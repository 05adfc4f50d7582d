//go:build vm

package qemu

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"

	"holdfast/compute"
)

// cutter is a machine with snapshots, with a model of what is on its disks.
type cutter struct {
	*testing.T
	d      *Driver
	h      *harness // knows what is nobody's
	m      compute.Machine
	now    map[string]model
	kept   map[string]map[string]model // by snapshot, and by point
	parent compute.Point
	count  int
}

func (c *cutter) copied() map[string]model {
	content := map[string]model{}
	for name, data := range c.now {
		content[name] = bytes.Clone(data)
	}
	return content
}

func (c *cutter) scribble() {
	c.Helper()
	for i, dk := range c.m.Disks {
		c.count++
		off := (c.count*7 + i) % 16 * granule
		guest(c.T, c.d, c.m.ID, dk.Name, fmt.Sprintf("write -f -P %d %d %d", byte(c.count), off, granule)) // a kill must not lose it
		copy(c.now[dk.Name][off:], bytes.Repeat([]byte{byte(c.count)}, granule))
	}
}

func (c *cutter) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// backup takes one of what has to be on the disks, and looks at every byte.
func (c *cutter) backup(want map[string]model) {
	c.Helper()
	c.count++
	h := begin(c.T, c.d, c.m, compute.Point(fmt.Sprintf("01cut%d.1", c.count)), c.parent)
	for _, hd := range h.Disks {
		src, err := c.d.Open(c.Context(), h, hd.Name)
		c.must(err)
		got := content(c.T, src)
		if !bytes.Equal(got, want[hd.Name]) {
			c.Fatalf("%s differs in block %d", hd.Name, firstDifference(got, want[hd.Name])/granule)
		}
		for e, err := range src.Extents(c.Context()) {
			c.must(err)
			if e.Clean && !bytes.Equal(got[e.Offset:e.End()], c.kept[string(hd.Parent)][hd.Name][e.Offset:e.End()]) {
				c.Fatalf("%s: %+v is not clean since %s", hd.Name, e, hd.Parent)
			}
		}
		c.must(src.Close())
	}
	end(c.T, c.d, h, compute.Committed)
	c.now = want
	c.parent, c.kept[string(h.Point)] = h.Point, c.copied()
}

func (c *cutter) snapshots() (ids []string) {
	c.Helper()
	list, err := c.d.Snapshots(c.Context(), c.m.ID)
	c.must(err)
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

// cut does f with a service that ends at a place of it.
func (c *cutter) cut(cfg Config, place string, f func(ctx context.Context, d *Driver) error) {
	c.Helper()
	service, err := New(cfg)
	c.must(err)
	defer func() { c.must(service.Close()) }()
	hit, done := false, make(chan struct{})
	service.fault = func(at string) {
		if at == place {
			hit = true
			runtime.Goexit()
		}
	}
	go func() {
		defer close(done)
		c.Errorf("it came to the end: %v", f(c.Context(), service))
	}()
	<-done
	if !hit {
		c.Fatal("the place was not reached")
	}
}

// TestSnapshotCutAnywhere ends each call of the Snapshotter at each of its inner
// places, with the machine running, stopped, and killed or stopped just after: the
// snapshot is there or it is not, and all bytes and all tracking are right. A
// share of all is tried, and everything by HOLDFAST_FULL.
func TestSnapshotCutAnywhere(t *testing.T) {
	cfg := testConfig(t)
	d := open(t, cfg)
	c := &cutter{
		T: t, d: d, h: &harness{t: t, cfg: cfg, d: d}, m: machine(mib, mib),
		now: map[string]model{"disk0": make(model, mib), "disk1": make(model, mib)}, kept: map[string]map[string]model{},
	}
	define(t, d, c.m, true)
	layer := []string{"qemu.layer.made", "qemu.layer.listed", "qemu.layer.open", "qemu.layer.piled"}
	fold := []string{"qemu.fold.disowned", "qemu.fold.begun", "qemu.fold.carried", "qemu.fold.concluded", "qemu.fold.forgotten"}
	turn := 2 // so that the share has what is least alike
	for _, op := range []struct {
		name   string
		places []string
		live   []bool
		f      func(*cutter, Config, string, bool, string)
	}{
		{"snapshot", layer, []bool{true, false}, (*cutter).snapshotCut},
		{"remove", slices.Concat(layer, fold), []bool{true, false}, (*cutter).removeCut},
		{"rollback", []string{"qemu.layer.made", "qemu.rollback.piled", "qemu.rollback.made", "qemu.rollback.switched"}, []bool{false}, (*cutter).rollbackCut},
	} {
		for _, place := range op.places {
			turn++
			for _, live := range op.live {
				for i, then := range []string{"", "kill", "stop"} {
					if !live && i > 0 || os.Getenv("HOLDFAST_FULL") == "" && turn%3 != i && (live || op.live[0]) {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/live=%v/%s", op.name, place, live, then), func(t *testing.T) {
						c.T, c.h.t = t, t
						c.prepare(live)
						op.f(c, cfg, place, live, then)
						c.clean()
					})
				}
			}
		}
	}
}

// prepare has a snapshot, data before, data since, and a backup between.
func (c *cutter) prepare(live bool) {
	c.Helper()
	c.must(c.d.Start(c.Context(), c.m.ID))
	c.scribble()
	c.backup(c.copied())
	c.scribble()
	_, err := c.d.Snapshot(c.Context(), c.m.ID, "a")
	c.must(err)
	c.kept["a"] = c.copied()
	c.scribble()
	c.backup(c.copied())
	c.scribble()
	if !live {
		c.must(c.d.Stop(c.Context(), c.m.ID, 0))
	}
}

// clean removes all snapshots, and finds nothing left of anything.
func (c *cutter) clean() {
	c.Helper()
	for _, id := range c.snapshots() {
		c.must(c.d.RemoveSnapshot(c.Context(), c.m.ID, id, nil))
	}
	c.backup(c.copied())
	left, err := c.h.Leftovers(c.m.ID, true)
	c.must(err)
	if l, err := c.d.layers(c.m.ID, current); err != nil || len(l) > 1 {
		left = append(left, fmt.Sprintf("%d layers, %v", len(l), err))
	}
	if len(left) > 0 {
		c.Fatalf("left behind: %v", left)
	}
}

// meanwhile is what happens after the service has ended, and before the next.
func (c *cutter) meanwhile(live bool, then string) {
	c.Helper()
	if live {
		c.scribble()
	}
	switch then {
	case "kill":
		c.must(c.h.Kill(c.m.ID))
		c.must(c.d.Start(c.Context(), c.m.ID))
		c.scribble()
	case "stop":
		c.must(c.d.Stop(c.Context(), c.m.ID, 0))
		c.must(c.d.Start(c.Context(), c.m.ID))
		c.scribble()
	}
}

func (c *cutter) snapshotCut(cfg Config, place string, live bool, then string) {
	c.cut(cfg, place, func(ctx context.Context, d *Driver) error {
		_, err := d.Snapshot(ctx, c.m.ID, "b")
		return err
	})
	atCut := c.copied()
	c.meanwhile(live, then)
	if slices.Contains(c.snapshots(), "b") && then == "" && place != "qemu.layer.piled" {
		c.Fatalf("the snapshot is there: %v", c.snapshots())
	}
	if then != "kill" && then != "stop" { // a backup settles what there is
		c.backup(c.copied())
	}
	there := slices.Contains(c.snapshots(), "b")
	if there != (live && then == "" && place == "qemu.layer.piled") {
		c.Errorf("the snapshot is there: %v", there)
	}
	_, err := c.d.Snapshot(c.Context(), c.m.ID, "b")
	c.must(err)
	if c.kept["b"] = atCut; !there {
		c.kept["b"] = c.copied()
	}
	if live {
		c.scribble()
	}
	c.backup(c.copied())
	c.backTo("b")
	c.backTo("a")
}

// backTo goes back to a snapshot, and looks at every byte.
func (c *cutter) backTo(id string) {
	c.Helper()
	c.must(c.d.Stop(c.Context(), c.m.ID, 0))
	c.must(c.d.Rollback(c.Context(), c.m.ID, id))
	c.now = c.kept[id]
	c.now = c.copied()
	c.backup(c.copied())
}

func (c *cutter) removeCut(cfg Config, place string, live bool, then string) {
	c.cut(cfg, place, func(ctx context.Context, d *Driver) error { return d.RemoveSnapshot(ctx, c.m.ID, "a", nil) })
	c.meanwhile(live, then)
	there := slices.Contains(c.snapshots(), "a")
	if there != (place[:len("qemu.layer")] == "qemu.layer") {
		c.Errorf("the snapshot is there: %v", there)
	}
	c.backup(c.copied())
	if there {
		// It is as it was.
		if live {
			c.scribble()
		}
		c.backTo("a")
	}
	c.must(c.d.RemoveSnapshot(c.Context(), c.m.ID, "a", nil))
	c.backup(c.copied())
}

func (c *cutter) rollbackCut(cfg Config, place string, _ bool, _ string) {
	_, err := c.d.Snapshot(c.Context(), c.m.ID, "b")
	c.must(err)
	c.cut(cfg, place, func(ctx context.Context, d *Driver) error { return d.Rollback(ctx, c.m.ID, "a") })
	if place == "qemu.rollback.switched" {
		if have := c.snapshots(); !slices.Equal(have, []string{"a"}) {
			c.Errorf("snapshots %v", have)
		}
		c.now = c.kept["a"]
	} else if have := c.snapshots(); !slices.Equal(have, []string{"a", "b"}) {
		c.Errorf("snapshots %v", have)
	}
	c.must(c.d.Start(c.Context(), c.m.ID))
	c.now = c.copied()
	c.scribble()
	c.backup(c.copied())
	c.backTo("a")
}
