package backup_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
)

const further = "offsite"

// withCopies gives the world a further place.
func withCopies(t *testing.T) (*world, *mem.Storage) {
	w := newWorld(t)
	place := mem.New()
	w.others = map[string]*fault.Storage{further: fault.New(place)}
	w.care = control.Upkeep{First: firstPlace, Copies: []string{further}}
	return w, place
}

// keepUp runs an operation of upkeep to its end.
func (w *world) keepUp(p *process, kind holdfast.Kind, b holdfast.BackupID) holdfast.Operation {
	w.t.Helper()
	o := w.queueAt(kind, b)
	p.finish(o)
	return w.see(o.ID)
}

func (w *world) queueAt(kind holdfast.Kind, b holdfast.BackupID) holdfast.Operation {
	w.t.Helper()
	return w.queue(holdfast.Operation{Kind: kind, BackupID: b, Place: further}, struct{}{})
}

func (w *world) copyOf(b holdfast.BackupID) holdfast.BackupCopy {
	w.t.Helper()
	c, err := w.store.Copy(w.t.Context(), b, further)
	w.ok(err)
	return c
}

// A copy that dies goes on in the next operation, and nothing is sent twice.
func TestCopyGoesOn(t *testing.T) {
	w, place := withCopies(t)
	b := w.backup()
	w.others[further].AddFault(fault.Put).On("packs/").Skip(2).Forever().ErrorInstead(errDead)
	if o := w.keepUp(w.process(), holdfast.KindCopy, b.ID); o.Failure == nil || o.Failure.Code != holdfast.CodeUpstreamUnavailable {
		t.Fatalf("the operation is %s with %+v", o.Status, o.Failure)
	}
	if c := w.copyOf(b.ID); c.State != holdfast.CopyFailed || !strings.Contains(c.Error, further) {
		t.Errorf("the copy is %+v", c)
	}
	before := len(blobsOf(t, place, "packs/"))
	w.others[further] = fault.New(place)
	if o := w.keepUp(w.process(), holdfast.KindCopy, b.ID); o.Status != holdfast.OperationCompleted {
		t.Fatalf("the operation is %s with %+v", o.Status, o.Failure)
	}
	if c := w.copyOf(b.ID); c.State != holdfast.CopyComplete || c.Bytes == 0 {
		t.Errorf("the copy is %+v", c)
	}
	all := blobsOf(t, place, "packs/")
	prefix := "packs/" + "copy-" + b.ID.ULID() + "/"
	if before == 0 || slices.ContainsFunc(all, func(n string) bool { return !strings.HasPrefix(n, prefix) }) {
		t.Errorf("%d packs before, then %v", before, all)
	}
	if left := blobsOf(t, place, "sessions/"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A session that a collection at the place took for dead is begun anew.
func TestCopyWhoseSessionWasEnded(t *testing.T) {
	w, place := withCopies(t)
	b := w.backup()
	w.others[further].AddFault(fault.Put).On("packs/").Skip(1).Forever().ErrorInstead(errDead)
	w.keepUp(w.process(), holdfast.KindCopy, b.ID)
	w.others[further] = fault.New(place)
	v, err := w.process().At(t.Context(), w.account, further)
	w.ok(err)
	p, err := v.PlanCollection(t.Context(), vault.CollectOptions{Idle: time.Nanosecond})
	w.ok(err)
	if _, err := v.Collect(t.Context(), p, vault.CollectOptions{Idle: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	if o := w.keepUp(w.process(), holdfast.KindCopy, b.ID); o.Status != holdfast.OperationCompleted {
		t.Fatalf("the operation is %s with %+v", o.Status, o.Failure)
	}
}

// A deleted backup is deleted at the further place, and cannot come back there.
func TestCopyIsDeleted(t *testing.T) {
	w, place := withCopies(t)
	b := w.backup()
	w.keepUp(w.process(), holdfast.KindCopy, b.ID)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SetBackupStatus(ctx, b.ID, holdfast.BackupCompleted, holdfast.BackupDeleted)
	})
	o := w.queue(holdfast.Operation{Kind: holdfast.KindBackupDelete, BackupID: b.ID}, struct{}{})
	w.process().finish(o)
	if c := w.copyOf(b.ID); c.State != holdfast.CopyDeleting {
		t.Errorf("the copy is %+v", c)
	}
	if o := w.keepUp(w.process(), holdfast.KindCopyDelete, b.ID); o.Status != holdfast.OperationCompleted {
		t.Fatalf("the operation is %s with %+v", o.Status, o.Failure)
	}
	if m := blobsOf(t, place, "backups/"); len(m) > 0 {
		t.Errorf("left: %v", m)
	}
	if o := w.keepUp(w.process(), holdfast.KindCopy, b.ID); o.Status != holdfast.OperationFailed || len(blobsOf(t, place, "backups/")) > 0 {
		t.Errorf("a late copy is %s", o.Status)
	}
	w.care.CollectAfter = time.Minute
	if o := w.keepUp(w.process(), holdfast.KindVaultCollect, ""); o.Status != holdfast.OperationCompleted || len(blobsOf(t, place, "packs/")) > 0 {
		t.Errorf("the collection is %s with %+v; left: %v", o.Status, o.Failure, blobsOf(t, place, "packs/"))
	}
}

// A collection that waits for a session gives its runner back.
func TestCollectionWaitsElsewhere(t *testing.T) {
	w, _ := withCopies(t)
	b := w.backup()
	w.keepUp(w.process(), holdfast.KindCopy, b.ID)
	v, err := w.process().At(t.Context(), w.account, further)
	w.ok(err)
	w.ok(v.DeleteBackup(t.Context(), string(b.ID)))
	w.ok(v.Write(t.Context(), "busy", func(context.Context, *vault.Session) error { return nil }))
	w.sessions = map[string]vault.SessionState{"busy": vault.SessionAlive}
	o := w.queueAt(holdfast.KindVaultCollect, "")
	p := w.process()
	var waited atomic.Bool
	p.run(p.until(func() bool {
		now, err := p.store.Operation(context.Background(), o.ID)
		waited.Store(err == nil && now.Status == holdfast.OperationQueued && now.Attempts == 1)
		return waited.Load()
	}))
	if !waited.Load() {
		t.Fatalf("the operation is %+v", w.see(o.ID))
	}
}

// What is damaged at the first place is restored from the other; so is all of it
// when the first place is away.
func TestRestoreFromAnotherPlace(t *testing.T) {
	for name, hurt := range map[string]func(w *world, p *process){
		"a pack is damaged": func(w *world, _ *process) {
			w.site.Tamper(w.blobs("packs/")[0], func(b []byte) []byte { b[100] ^= 1; return b })
		},
		"all data is gone": func(w *world, _ *process) {
			for _, n := range w.blobs("packs/") {
				w.ok(w.site.Delete(t.Context(), n))
			}
		},
		"the manifest is damaged": func(w *world, _ *process) {
			w.site.Tamper(w.blobs("backups/")[0], func(b []byte) []byte { b[60] ^= 1; return b })
		},
		"the place is away": func(_ *world, p *process) {
			p.storage.AddFault(fault.Any).Forever().ErrorInstead(errDead)
		},
		"the place goes away": func(_ *world, p *process) {
			p.storage.AddFault(fault.Read).On("packs/").Skip(3).Forever().ErrorInstead(errDead)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := withCopies(t)
			want := w.contents(w.vps)
			b := w.backup()
			w.keepUp(w.process(), holdfast.KindCopy, b.ID)
			p := w.process()
			hurt(w, p)
			o, v := w.askRestore(b)
			p.finish(o)
			w.restored(o, v, want)
		})
	}
}

func blobsOf(t *testing.T, st *mem.Storage, prefix string) (out []string) {
	t.Helper()
	for info, err := range st.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Name)
	}
	return out
}
