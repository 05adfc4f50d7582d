//go:build vm

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"holdfast/compute"
)

// TestCutAnywhere ends Begin or End at each of its inner places, has a successor
// end the point, and checks that the next backup tells no lies.
func TestCutAnywhere(t *testing.T) {
	cfg := testConfig(t)
	d := open(t, cfg)
	for _, place := range []string{
		"qemu.begin.prepared", "qemu.begin.stopped", "qemu.begin.slid", "qemu.begin.access", "qemu.begin.offline",
		"qemu.end.detached", "qemu.end.settled", "qemu.end.removed",
	} {
		for _, live := range []bool{true, false} {
			for _, outcome := range []compute.Outcome{compute.Abandoned, compute.Committed} {
				if !live && slices.Contains([]string{"qemu.begin.prepared", "qemu.begin.stopped", "qemu.begin.slid", "qemu.begin.access"}, place) ||
					live && place == "qemu.begin.offline" {
					continue
				}
				t.Run(fmt.Sprintf("%s/live=%v/outcome=%d", place, live, outcome), func(t *testing.T) {
					cutAt(t, d, cfg, place, live, outcome)
				})
			}
		}
	}
}

func cutAt(t *testing.T, d *Driver, cfg Config, place string, live bool, outcome compute.Outcome) {
	m := machine(4 * mib)
	now := make(model, 4*mib)
	define(t, d, m, true)
	defer func() {
		if err := d.Delete(t.Context(), m.ID); err != nil {
			t.Error(err)
		}
		noTraces(t, cfg)
	}()
	power := func() {
		t.Helper()
		act := d.Start
		if !live {
			act = func(ctx context.Context, id string) error { return d.Stop(ctx, id, 0) }
		}
		if err := act(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
	}
	now.write(t, d, m.ID, "disk0", 1, 0, 3*mib)
	var im image
	h := begin(t, d, m, "01base.1")
	im.update(t, d, h, 0)
	end(t, d, h, compute.Committed)
	now.write(t, d, m.ID, "disk0", 2, mib, granule)
	power()

	cut := open(t, cfg)
	hit := false
	cut.fault = func(at string) {
		if at == place {
			hit = true
			runtime.Goexit()
		}
	}
	var last compute.Handle
	begun, done := false, make(chan struct{})
	go func() {
		defer close(done)
		_, err := cut.Begin(t.Context(), compute.PointRequest{Machine: m.ID, Point: "01cut.1", Parents: []compute.Point{"01base.1"}},
			func(h compute.Handle) error { last = h; return nil })
		begun = err == nil
		_ = cut.End(t.Context(), last, outcome)
	}()
	<-done
	if !hit {
		t.Fatal("the place was not reached")
	}
	atCut := bytes.Clone(now)
	if live {
		now.write(t, d, m.ID, "disk0", 3, 2*mib, granule)
	}
	parents := []compute.Point{"01base.1"}
	if begun && outcome == compute.Committed {
		// That backup is in the vault: the image is what it has.
		im.data = atCut
		parents = append([]compute.Point{"01cut.1"}, parents...)
	} else if !begun {
		outcome = compute.Abandoned
	}
	end(t, d, last, outcome)
	if err := d.Recover(t.Context(), last); !errors.Is(err, compute.ErrPointLost) {
		t.Errorf("recover: %v", err)
	}
	if live {
		statusIs(t, d, m.ID, compute.Running)
	} else {
		statusIs(t, d, m.ID, compute.Stopped)
	}
	h = begin(t, d, m, "01next.1", parents...)
	if h.Disks[0].Parent != parents[0] {
		t.Errorf("parent of %+v, want %s", h.Disks[0], parents[0])
	}
	im.update(t, d, h, 0)
	if !bytes.Equal(im.data, now) {
		t.Errorf("the image differs at %d", firstDifference(im.data, now))
	}
	end(t, d, h, compute.Committed)
}

// TestKilledDaemon: the storage daemon of a stopped machine's point dies.
func TestKilledDaemon(t *testing.T) {
	d := newDriver(t)
	m := machine(4 * mib)
	define(t, d, m, false)
	fill(t, d, m, bytes.Repeat([]byte("data"), mib/2))
	end(t, d, begin(t, d, m, "01base.1"), compute.Committed)
	h := begin(t, d, m, "01a.1", "01base.1")
	src, err := d.Open(t.Context(), h, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	st, err := stateOf(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Proc.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := src.ReadAt(make([]byte, 512), 0); !errors.Is(err, compute.ErrPointLost) {
		t.Errorf("read: %v", err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Recover(t.Context(), h); !errors.Is(err, compute.ErrPointLost) {
		t.Errorf("recover: %v", err)
	}
	// A start comes first, whatever has become of the daemon.
	if err := d.Start(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	end(t, d, h, compute.Abandoned)
	h = begin(t, d, m, "01b.1", "01base.1")
	if h.Disks[0].Parent != "" || h.Disks[0].ParentLost != lostInconsistent {
		t.Errorf("%+v", h.Disks)
	}
	end(t, d, h, compute.Committed)
	bitmapsAre(t, d, m.ID, "hf-01b.1")
}
