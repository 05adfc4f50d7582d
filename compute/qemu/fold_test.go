//go:build vm

package qemu

import (
	"context"
	"errors"
	"testing"

	"holdfast/compute"
)

// TestFoldCutMidway ends the process that writes one layer into another while it
// is at it: what is there of it is hidden, and the next one finishes.
func TestFoldCutMidway(t *testing.T) {
	cfg := testConfig(t)
	d := open(t, cfg)
	c := &cutter{
		T: t, d: d, h: &harness{t: t, cfg: cfg, d: d}, m: machine(16 * mib),
		now: map[string]model{"disk0": make(model, 16*mib)}, kept: map[string]map[string]model{},
	}
	define(t, d, c.m, true)
	for name, then := range map[string]func() error{
		"kill": func() error { return c.h.Kill(c.m.ID) },
		"stop": func() error { return d.Stop(t.Context(), c.m.ID, 0) },
		"start": func() error { // of a machine whose layers a storage daemon has
			return d.Start(t.Context(), c.m.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.T, c.h.t = t, t
			live := name != "start"
			c.prepare(true)
			for i := range 8 {
				c.count++
				c.now["disk0"].write(t, d, c.m.ID, "disk0", byte(c.count), 2*i*mib, mib)
			}
			guest(t, d, c.m.ID, "disk0", "flush")
			if !live {
				c.must(d.Stop(t.Context(), c.m.ID, 0))
			}
			d.foldSpeed = mib
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			midway := false
			err := d.RemoveSnapshot(ctx, c.m.ID, "a", func(done, total int64) {
				if midway = done > 0 && done < total; midway {
					cancel()
				}
			})
			d.foldSpeed = 128 * mib
			if !midway || !errors.Is(err, context.Canceled) {
				t.Fatalf("it was not midway: %v", err)
			}
			if live {
				c.scribble()
			}
			c.must(then())
			c.must(d.Start(t.Context(), c.m.ID))
			statusIs(t, d, c.m.ID, compute.Running)
			c.scribble()
			c.backup(c.copied())
			c.must(d.RemoveSnapshot(t.Context(), c.m.ID, "a", nil))
			c.clean()
		})
	}
}
