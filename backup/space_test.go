package backup_test

import (
	"errors"
	"testing"

	"holdfast"
	"holdfast/compute/sim"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
)

func TestVaultFull(t *testing.T) {
	for _, prefix := range []string{"sessions/", "packs/", "index/", "backups/"} {
		t.Run(prefix, func(t *testing.T) {
			w := newWorld(t)
			w.backup()
			w.guestWrites("disk0", 0, 16*block)
			p := w.process()
			p.storage.AddFault(fault.Put).On(prefix).Forever().ErrorInstead(blob.ErrNoSpace)
			ends := 0
			p.inject(sim.Faults{}, func(name string, n int) error {
				if name == "end" {
					ends = n
				}
				return nil
			})
			o := w.ask()
			p.finish(o)
			w.failed(o, holdfast.CodeSiteFull)
			if n := w.see(o.ID).Attempts; n != 0 || ends != 1 {
				t.Errorf("%d attempts, %d Ends: a full site does not pass by itself", n, ends)
			}
			b := w.backup()
			w.holds(b, w.contents(w.vps))
			if b.Incremental != holdfast.IncrementalDelta {
				t.Errorf("change tracking was not merged back: %+v", b)
			}
		})
	}
}

// A failure that is final still is not the end while the guest is not rid of
// its point in time.
func TestVaultFullAndTheHypervisorMute(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	p.storage.AddFault(fault.Put).On("packs/").Forever().ErrorInstead(blob.ErrNoSpace)
	p.inject(sim.Faults{}, func(name string, n int) error {
		if name == "end" && n == 1 {
			return errors.New("the monitor does not answer")
		}
		return nil
	})
	o := w.ask()
	p.finish(o)
	w.failed(o, holdfast.CodeSiteFull)
}

// A site that fails for now is tried again, with what it has already.
func TestVaultFailsForNow(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	p.storage.AddFault(fault.Put).On("packs/").Skip(2).ErrorInstead(errors.New("connection reset"))
	o := w.ask()
	p.finish(o)
	b := w.completed(o)
	w.holds(b, w.contents(w.vps))
	if n := w.see(o.ID).Attempts; n != 1 {
		t.Errorf("%d attempts failed", n)
	}
	w.clean()
}
