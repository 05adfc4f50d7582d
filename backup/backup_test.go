package backup_test

import (
	"context"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute/sim"
	"holdfast/store"
	"holdfast/vault/blob/fault"
)

func TestFullThenIncrementalThenRepair(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	full := w.backup()
	w.holds(full, w.contents(w.vps))
	if full.Incremental != holdfast.IncrementalFull || full.Consistency != holdfast.ConsistencyCrash || full.Point == "" {
		t.Errorf("full: %+v", full)
	}
	if full.PointAt.Before(began.Truncate(time.Second)) || full.PointAt.After(time.Now().Add(time.Second)) {
		t.Errorf("the point in time is %v", full.PointAt)
	}
	if want := int64(48*block + 512); full.SizeBytes != want {
		t.Errorf("size is %d instead of %d", full.SizeBytes, want)
	}
	if want := int64(24*block + 512); full.ChangedBytes != want {
		t.Errorf("changed %d bytes instead of %d", full.ChangedBytes, want)
	}

	w.guestWrites("disk0", 20*block+7, 100)
	w.guestWrites("disk1", 15*block, block)
	delta := w.backup()
	w.holds(delta, w.contents(w.vps))
	if delta.Incremental != holdfast.IncrementalDelta || delta.ChangedBytes != 2*block || delta.TransferredBytes > 4*block {
		t.Errorf("incremental: %+v", delta)
	}

	w.ok(w.hypervisor().LoseTracking(string(w.vps.ID)))
	w.guestWrites("disk0", 0, 1)
	p := w.process()
	o := w.ask()
	p.finish(o)
	repair := w.completed(o)
	w.holds(repair, w.contents(w.vps))
	if repair.Incremental != holdfast.IncrementalFixed || repair.TransferredBytes > 4*block {
		t.Errorf("repair: %+v", repair)
	}
	if got := p.see(o.ID).Progress; got.Current != got.Total || got.Total < 24*block {
		t.Errorf("a repair reads all, and shows %+v", got)
	}
	w.clean()

	same := w.backup() // nothing was written
	w.holds(same, w.contents(w.vps))
	if same.Incremental != holdfast.IncrementalDelta || same.ChangedBytes != 0 {
		t.Errorf("after nothing: %+v", same)
	}
}

func TestStoppedVPSIsBackedUpOffline(t *testing.T) {
	w := newWorld(t)
	w.ok(w.hypervisor().Stop(t.Context(), string(w.vps.ID), 0))
	b := w.backup()
	w.holds(b, w.contents(w.vps))
	if b.Consistency != holdfast.ConsistencyOffline {
		t.Errorf("consistency is %q", b.Consistency)
	}
}

func TestFrozenGuest(t *testing.T) {
	w := newWorld(t)
	for _, agent := range []bool{true, false} {
		p := w.process()
		p.inject(sim.Faults{Agent: agent}, nil)
		o := w.ask()
		p.finish(o)
		b := w.completed(o)
		w.holds(b, w.contents(w.vps))
		if agent != (b.Consistency == holdfast.ConsistencyFilesystem) || agent != (b.ConsistencyReason == "") {
			t.Errorf("agent: %v, consistency is %q because %q", agent, b.Consistency, b.ConsistencyReason)
		}
	}
}

// A VPS that is started while its point in time is taken was not offline.
func TestStartedMeanwhileIsNotOffline(t *testing.T) {
	w := newWorld(t)
	w.ok(w.hypervisor().Stop(t.Context(), string(w.vps.ID), 0))
	p := w.process()
	p.door.journal = func(key string, n int) {
		if key == "point" && n == 1 {
			w.ok(w.hypervisor().Start(t.Context(), string(w.vps.ID)))
		}
	}
	o := w.ask()
	p.finish(o)
	if b := w.completed(o); b.Consistency != holdfast.ConsistencyCrash {
		t.Errorf("consistency is %q", b.Consistency)
	}
}

func TestDeletedBackupNeverComesBack(t *testing.T) {
	w := newWorld(t)
	b := w.backup()
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SetBackupStatus(ctx, b.ID, holdfast.BackupCompleted, holdfast.BackupDeleted)
	})
	o := w.queue(holdfast.Operation{Kind: holdfast.KindBackupDelete, VPSID: w.vps.ID, BackupID: b.ID}, struct{}{})
	p := w.process()
	p.storage.AddFault(fault.Delete).On("backups/").ErrorAfter(errDead) // the answer is lost once
	p.finish(o)
	if o = w.see(o.ID); o.Status != holdfast.OperationCompleted {
		t.Fatalf("the deletion is %s: %+v", o.Status, o.Failure)
	}
	if m := w.blobs("backups/"); len(m) > 0 {
		t.Errorf("manifests left: %v", m)
	}
	if m := w.blobs("tombstones/backup-" + string(b.ID)); len(m) != 1 {
		t.Errorf("no tombstone: %v", m)
	}
}
