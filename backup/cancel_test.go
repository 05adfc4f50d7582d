package backup_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute/sim"
	"holdfast/operation"
	"holdfast/store"
	"holdfast/vault/blob/fault"
)

func (w *world) cancel(o holdfast.Operation) {
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.RequestCancel(ctx, o.ID) })
}

// slow lets a transfer take minutes.
func (p *process) slow() { p.storage.SetBandwidth(64 << 10) }

// begun is closed when the first pack is on its way.
func (p *process) begun(op fault.Op) <-chan struct{} {
	begun := make(chan struct{})
	p.storage.AddFault(op).On("packs/").Do(func(fault.Call) { close(begun) })
	return begun
}

func TestCancelledMidwayLeavesNothing(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		w := newWorld(t)
		w.backup()
		w.guestWrites("disk0", 0, 16*block)
		p := w.process()
		p.inject(sim.Faults{}, func(name string, n int) error {
			if stubborn && name == "end" && n == 1 {
				return errors.New("the monitor does not answer")
			}
			return nil
		})
		p.slow()
		begun := p.begun(fault.Put)
		o := w.ask()
		go func() {
			<-begun
			w.cancel(o)
			<-p.door.cancelSeen
			p.storage.SetBandwidth(0)
		}()
		p.finish(o)
		w.failed(o, holdfast.CodeCancelled)
		if m := w.blobs("tombstones/backup-" + string(o.BackupID)); len(m) != 1 {
			t.Error("a runner that was asleep could still commit the backup")
		}
		b := w.backup()
		w.holds(b, w.contents(w.vps))
		if b.Incremental != holdfast.IncrementalDelta || b.ChangedBytes < 16*block {
			t.Errorf("change tracking was not merged back: %+v", b)
		}
		w.clean()
	}
}

// A cancel that finds the runner dead is carried out by its successor, which
// has nothing left to do but to clear up.
func TestCancelledAfterDeath(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	p.inject(sim.Faults{}, nil)
	p.atBlob("packs/", 1, true)
	o := w.ask()
	p.run(p.until(p.dead.Load))
	w.cancel(o)
	w.ahead.Add(int64(2 * ttl))
	w.process().finish(o)
	w.failed(o, holdfast.CodeCancelled)
}

// A cancel behind the commit comes too late.
func TestCancelledTooLate(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	o := w.ask()
	p.inject(sim.Faults{}, func(name string, _ int) error {
		if name == "end" {
			w.cancel(o)
			<-p.door.cancelSeen
		}
		return nil
	})
	p.finish(o)
	w.holds(w.completed(o), w.contents(w.vps))
	w.clean()
}

// An answer to the commit that was lost is no reason to begin again.
func TestCommitWithoutAnAnswer(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	p.storage.AddFault(fault.Put).On("backups/").ErrorAfter(errors.New("connection reset"))
	o := w.ask()
	p.finish(o)
	w.holds(w.completed(o), w.contents(w.vps))
	if n := w.see(o.ID).Attempts; n != 0 {
		t.Errorf("%d attempts failed", n)
	}
	w.clean()
}

// Change tracking that cannot be advanced does not undo a committed backup.
func TestCommittedThoughTheHypervisorIsMute(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	p.inject(sim.Faults{}, func(name string, _ int) error {
		if name == "end" {
			return errors.New("the monitor does not answer")
		}
		return nil
	})
	o := w.ask()
	p.finish(o)
	w.holds(w.completed(o), w.contents(w.vps))
	if n := w.see(o.ID).Attempts; n != 2 {
		t.Errorf("%d attempts failed before it was given up", n)
	}
}

func TestShutdownHandsBack(t *testing.T) {
	w := newWorld(t)
	want := w.contents(w.vps)
	p := w.process()
	p.slow()
	o := w.ask()
	began := time.Now()
	p.run(p.begun(fault.Put))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the shutdown took %v", took)
	}
	now := w.see(o.ID)
	if now.Status != holdfast.OperationQueued && now.Status != holdfast.OperationInProgress || now.Attempts != 0 || now.Runner != "" {
		t.Errorf("the operation is %s of %q after %d attempts", now.Status, now.Runner, now.Attempts)
	}
	w.guestWrites("disk0", 0, block)
	w.process().finish(o)
	w.holds(w.completed(o), want) // the point in time was held meanwhile
	w.clean()
}

// A runner that has lost its lease touches neither hypervisor nor vault.
func TestLostLeaseTouchesNothing(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	var ended sync.Once
	touched := make(chan struct{})
	p.inject(sim.Faults{}, func(name string, _ int) error {
		if name == "end" {
			ended.Do(func() { close(touched) })
		}
		return nil
	})
	p.slow()
	begun := p.begun(fault.Put)
	w.ask()
	successor := w.process()
	go func() {
		<-begun
		w.ahead.Add(int64(2 * ttl))
		if _, err := successor.door.Queue.Claim(context.Background(), operation.ClaimRequest{
			Runner: "successor", Host: w.host, Kinds: []holdfast.Kind{holdfast.KindBackup}, TTL: time.Hour / 10,
		}); err != nil {
			t.Error(err)
		}
	}()
	p.run(p.returned)
	select {
	case <-touched:
		t.Error("the point in time of the successor was ended")
	default:
	}
	for _, c := range p.storage.Calls() {
		if c.Op == fault.Delete {
			t.Errorf("the vault was cleared: %s", c.Name)
		}
	}
	if m := w.blobs("sessions/"); len(m) != 1 {
		t.Errorf("the successor's session: %v", m)
	}
}
