package backup_test

import (
	"context"
	"testing"

	"holdfast"
	"holdfast/compute/sim"
)

func TestLostPointIsTakenAgain(t *testing.T) {
	for _, times := range []int{1, 2} {
		w := newWorld(t)
		w.backup()
		w.guestWrites("disk0", 0, 16*block)
		p := w.process()
		begun := 0
		p.inject(sim.Faults{}, func(name string, n int) error {
			if name == "begin" {
				begun = n
			}
			if name == "recover" && n%3 == 0 && begun <= times {
				return w.hypervisor().LosePoint(string(w.vps.ID))
			}
			return nil
		})
		o := w.ask()
		p.finish(o)
		b := w.completed(o)
		w.holds(b, w.contents(w.vps))
		if begun != times+1 {
			t.Errorf("%d points in time were taken, after %d were lost", begun, times)
		}
		if b.Incremental != holdfast.IncrementalDelta {
			t.Errorf("after a lost point the backup is %s", b.Incremental)
		}
		w.clean()
		p.neverBack()
	}
}

func TestPointLostThriceEndsTheBackup(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	begun := 0
	p.inject(sim.Faults{}, func(name string, n int) error {
		switch name {
		case "begin":
			begun = n
		case "open":
			return w.hypervisor().LosePoint(string(w.vps.ID))
		}
		return nil
	})
	o := w.ask()
	p.finish(o)
	w.failed(o, holdfast.CodeVPSStateChanged)
	if begun != 3 {
		t.Errorf("%d points in time were taken", begun)
	}
	w.holds(w.backup(), w.contents(w.vps))
}

// A guest that is killed takes its change tracking with it: what it wrote since
// is found by reading all.
func TestGuestKilledMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.backup()
	w.guestWrites("disk0", 0, 4*block)
	p := w.process()
	p.inject(sim.Faults{}, func(name string, n int) error {
		if name == "open" && n == 3 {
			return w.hypervisor().Kill(string(w.vps.ID))
		}
		return nil
	})
	o := w.ask()
	p.finish(o)
	b := w.completed(o)
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalFixed || b.Consistency != holdfast.ConsistencyOffline {
		t.Errorf("%+v", b)
	}
	w.clean()
}

func TestScratchExhausted(t *testing.T) {
	w := newWorld(t)
	w.backup()
	p := w.process()
	p.inject(sim.Faults{}, func(name string, _ int) error {
		if name != "open" {
			return nil
		}
		h := w.hypervisor()
		h.Inject(sim.Faults{ScratchBytes: block})
		return h.WriteDisk(string(w.vps.ID), "disk0", make([]byte, 2*block), 0)
	})
	o := w.ask()
	p.finish(o)
	w.failed(o, holdfast.CodeScratchExhausted)
	if n := w.see(o.ID).Attempts; n != 0 {
		t.Errorf("%d attempts before the last: the guest would pay for each", n)
	}
	b := w.backup()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalDelta {
		t.Errorf("change tracking was not merged back: %+v", b)
	}
}

// The backup that change tracking began with is deleted before the point in
// time is taken.
func TestParentDeletedBefore(t *testing.T) {
	w := newWorld(t)
	parent := w.backup()
	o := w.ask()
	w.ok(w.openVault().DeleteBackup(t.Context(), string(parent.ID)))
	w.guestWrites("disk0", 0, block)
	w.process().finish(o)
	b := w.completed(o)
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalFixed {
		t.Errorf("%+v", b)
	}
	w.clean()
}

// It is deleted while the backup that builds on it runs.
func TestParentDeletedMeanwhile(t *testing.T) {
	for _, at := range []int{1, 3} { // while measuring, and while copying
		w := newWorld(t)
		parent := w.backup()
		w.guestWrites("disk0", 0, block)
		p := w.process()
		p.inject(sim.Faults{}, func(name string, n int) error {
			if name == "open" && n == at {
				return w.openVault().DeleteBackup(context.Background(), string(parent.ID))
			}
			return nil
		})
		o := w.ask()
		p.finish(o)
		b := w.completed(o)
		w.holds(b, w.contents(w.vps))
		if b.Incremental != holdfast.IncrementalFixed || w.see(o.ID).Attempts != 0 {
			t.Errorf("%+v", b)
		}
		w.clean()
	}
}

// A damaged backup must not keep all later ones from being made. The damaged
// bytes are a stored blob's: whoever can write to the site reaches this.
func TestDamagedParent(t *testing.T) {
	flip := func(b []byte) []byte {
		b[len(b)-1] ^= 1
		return b
	}
	for _, prefix := range []string{"backups/", "packs/"} {
		t.Run(prefix, func(t *testing.T) {
			w := newWorld(t)
			w.backup()
			for _, name := range w.blobs(prefix) {
				w.site.Tamper(name, func(b []byte) []byte {
					if prefix == "packs/" {
						clear(b[64:])
						return b
					}
					return flip(b)
				})
			}
			w.guestWrites("disk0", 0, block)
			o := w.ask()
			w.process().finish(o)
			b := w.completed(o)
			if b.Incremental != holdfast.IncrementalFixed {
				t.Errorf("%+v", b)
			}
			w.clean()
		})
	}
}
