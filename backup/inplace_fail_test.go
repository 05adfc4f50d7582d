package backup_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdfast"
	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/store"
)

// asBefore proves that a restore in place that did not come to its switch left the
// VPS as it was, running, and that nothing is left of it.
func (w *world) asBefore(want map[string][]byte) {
	w.t.Helper()
	w.sweep()
	w.has(want)
	if got := w.generations(); !slices.Equal(got, []string{"1"}) || w.vps.Generation != 1 {
		w.t.Errorf("generations %v, the VPS has %d", got, w.vps.Generation)
	}
	c, caller := w.plane()
	if _, err := c.UndoRestore(w.t.Context(), caller, w.vps.ID.String(), nil); holdfast.CodeOf(err) != holdfast.CodeNothingToUndo {
		w.t.Errorf("undo of what did not happen: %v", err)
	}
	w.clean()
}

func TestInPlaceFails(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name   string
		faults sim.Faults
		call   string // that fails whenever it is made
		code   holdfast.Code
	}{
		{"no room on the host", sim.Faults{Room: 64 << 20}, "", holdfast.CodeHostDiskFull},
		{"the host's disk is full after all", sim.Faults{SpaceBytes: 10 * block}, "", holdfast.CodeHostDiskFull},
		{"the VPS cannot be stopped", sim.Faults{}, "stop", holdfast.CodeInternal},
		{"the disks cannot be switched", sim.Faults{}, "switch", holdfast.CodeInternal},
		{"the disks cannot be read back", sim.Faults{}, "opengeneration", holdfast.CodeInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.back()
			w.guestWrites("disk0", 0, 4*block)
			before := w.contents(w.vps)
			o := w.askInPlace(b)
			p := w.process()
			p.inject(c.faults, func(name string, _ int) error {
				if name == c.call {
					return broken
				}
				return nil
			})
			p.finish(o)
			w.failed(o, c.code)
			w.asBefore(before)
		})
	}
}

// TestInPlaceVerifies has the host's disk lose what was written to it.
func TestInPlaceVerifies(t *testing.T) {
	for _, always := range []bool{false, true} {
		w := newWorld(t)
		b, was := w.back(), w.contents(w.vps)
		w.guestWrites("disk0", 0, 4*block)
		before := w.contents(w.vps)
		o := w.askInPlace(b)
		p := w.process()
		p.inject(sim.Faults{}, func(name string, n int) error {
			if name != "opengeneration" || n > 1 && !always {
				return nil
			}
			path := filepath.Join(w.dir, "host", "machines", string(w.vps.ID), "gen-2", "disk0.raw")
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("rot"), 5*block)
			return errors.Join(err, f.Close())
		})
		p.finish(o)
		if always {
			w.failed(o, holdfast.CodeInternal)
			w.asBefore(before)
		} else {
			w.done(o)
			w.has(was)
		}
	}
}

// TestInPlaceThatDoesNotStart: the disks hold what no host starts, and are
// restored all the same.
func TestInPlaceThatDoesNotStart(t *testing.T) {
	w := newWorld(t)
	b := w.back()
	o := w.askInPlace(b)
	p := w.process()
	p.inject(sim.Faults{}, func(name string, _ int) error {
		if name == "start" {
			return errors.New("no boot sector")
		}
		return nil
	})
	p.finish(o)
	w.done(o)
	v, err := w.store.VPS(t.Context(), w.vps.ID)
	w.ok(err)
	if v.Power != holdfast.PowerStopped || v.Generation != 2 {
		t.Errorf("the VPS is %s with generation %d", v.Power, v.Generation)
	}
}

// TestInPlaceOfAStoppedVPS leaves it stopped.
func TestInPlaceOfAStoppedVPS(t *testing.T) {
	w := newWorld(t)
	b := w.back()
	w.ok(w.hypervisor().Stop(t.Context(), string(w.vps.ID), 0))
	o := w.askInPlace(b)
	w.process().finish(o)
	w.done(o)
	st, err := w.hypervisor().Inspect(t.Context(), string(w.vps.ID))
	w.ok(err)
	if st.Power != compute.Stopped {
		t.Errorf("the VPS is %s", st.Power)
	}
}

// TestInPlaceCancelled cancels at each call of the driver: until the switch the VPS
// has its disks, and from it on the others.
func TestInPlaceCancelled(t *testing.T) {
	for _, call := range []string{"prepare", "fillgeneration", "ready", "stop", "switch"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t)
			b, was := w.back(), w.contents(w.vps)
			w.guestWrites("disk0", 0, 4*block)
			before := w.contents(w.vps)
			o := w.askInPlace(b)
			p := w.process()
			p.inject(sim.Faults{}, func(name string, n int) error {
				if name == call && n == 1 {
					w.write(func(ctx context.Context, tx *store.Tx) error { return tx.RequestCancel(ctx, o.ID) })
					<-p.door.cancelSeen
				}
				return nil
			})
			p.finish(o)
			if call == "switch" {
				w.done(o)
				w.has(was)
				return
			}
			w.failed(o, holdfast.CodeCancelled)
			w.asBefore(before)
		})
	}
}

// TestInPlaceExcludes: meanwhile power actions, backups and other restores of the
// VPS are refused, and the backup cannot be deleted.
func TestInPlaceExcludes(t *testing.T) {
	w := newWorld(t)
	b := w.back()
	o := w.askInPlace(b)
	c, caller := w.plane()
	id := w.vps.ID.String()
	_, start := c.StartVPS(t.Context(), holdfastVPS(id))
	_, again := c.RestoreInPlace(t.Context(), caller, id, b.ID.String(), nil)
	_, backup := c.CreateBackup(t.Context(), caller, id, "", nil)
	_, undo := c.UndoRestore(t.Context(), caller, id, nil)
	for what, err := range map[string]error{
		"start": start, "another": again, "backup": backup, "undo": undo,
		"delete": c.DeleteBackup(t.Context(), caller, id, b.ID.String()),
	} {
		if holdfast.CodeOf(err) != holdfast.CodeOperationInProgress {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.process().finish(o)
	w.done(o)
	if _, err := c.StartVPS(t.Context(), holdfastVPS(id)); err != nil {
		t.Errorf("start afterwards: %v", err)
	}
	if _, err := c.UndoRestore(t.Context(), caller, id, nil); holdfast.CodeOf(err) != holdfast.CodeOperationInProgress {
		t.Errorf("undo while the VPS is being started: %v", err)
	}
}
