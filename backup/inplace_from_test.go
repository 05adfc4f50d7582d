package backup_test

import (
	"context"
	"testing"

	"holdfast"
	"holdfast/compute"
	"holdfast/control"
	"holdfast/store"
)

func holdfastVPS(id string) control.VPSInput { return control.VPSInput{VPS: id} }

// another makes a running VPS with these disks.
func (w *world) another(disks ...holdfast.VPSDisk) holdfast.VPS {
	w.t.Helper()
	v := w.newVPS(disks...)
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertVPS(ctx, v) })
	m := compute.Machine{ID: string(v.ID)}
	for _, d := range disks {
		m.Disks = append(m.Disks, compute.Disk{Name: d.Name, SizeBytes: d.SizeBytes})
	}
	h := w.hypervisor()
	w.ok(h.Define(w.t.Context(), m))
	w.ok(h.Start(w.t.Context(), string(v.ID)))
	return v
}

// TestRestoreFromATerminatedVPS puts a backup of a VPS that is gone on another one:
// the next backup of that one builds on it, and an undo brings back what was there.
func TestRestoreFromATerminatedVPS(t *testing.T) {
	w := newWorld(t)
	b, was := w.back(), w.contents(w.vps)
	source := w.vps
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SetService(ctx, source.ID, holdfast.ServiceTerminated)
	})
	w.ok(w.hypervisor().Delete(t.Context(), string(source.ID)))

	w.vps = w.another(holdfast.VPSDisk{Name: "disk0", SizeBytes: 60 * block})
	w.guestWrites("disk0", 7*block, block)
	before := w.contents(w.vps)
	c, caller := w.plane()
	sources, err := c.RestoreSources(t.Context(), caller, w.vps.ID.String())
	w.ok(err)
	if len(sources) != 1 || sources[0].VPS.ID != source.ID || len(sources[0].Backups) != 1 {
		t.Fatalf("sources %+v", sources)
	}
	a, err := c.RestoreFromVPS(t.Context(), caller, w.vps.ID.String(), control.FromVPS{SourceVPS: source.ID.String(), Backup: b.ID.String()}, nil)
	w.ok(err)
	w.process().finish(a.Operation)
	w.done(a.Operation)
	// Both disks, and together no more storage than the VPS had.
	was["disk0"] = append(was["disk0"], make([]byte, 60*block-49*block)...)
	now, err := w.store.VPS(t.Context(), w.vps.ID)
	w.ok(err)
	if len(now.Disks) != 2 || now.StorageBytes() > 60*block || now.Disks[0].SizeBytes < 32*block {
		t.Errorf("disks %+v", now.Disks)
	}
	was["disk0"] = was["disk0"][:now.Disks[0].SizeBytes]
	w.has(was)
	if now.MAC == source.MAC || now.Name != w.vps.Name {
		t.Errorf("the VPS took over %q, %q", now.MAC, now.Name)
	}

	w.guestWrites("disk1", 0, block)
	next := w.back()
	w.holds(next, w.contents(w.vps))
	if next.Incremental != holdfast.IncrementalDelta || next.ChangedBytes != block {
		t.Errorf("the next backup: %s, %d bytes", next.Incremental, next.ChangedBytes)
	}
	o := w.askUndo()
	w.process().finish(o)
	w.done(o)
	w.has(before)
	w.sweep()
	w.clean()
}

// TestBaseThatIsGone: a backup after a restore whose backup was deleted reads all,
// and says so.
func TestBaseThatIsGone(t *testing.T) {
	w := newWorld(t)
	b := w.back()
	w.back()
	o := w.askInPlace(b)
	w.process().finish(o)
	w.done(o)
	c, caller := w.plane()
	w.ok(c.DeleteBackup(t.Context(), caller, w.vps.ID.String(), b.ID.String()))
	w.sweep()
	next := w.back()
	w.holds(next, w.contents(w.vps))
	if next.Incremental != holdfast.IncrementalFixed {
		t.Errorf("the next backup: %s", next.Incremental)
	}
}

func TestRestoreFromVPSRefusals(t *testing.T) {
	w := newWorld(t)
	b := w.back()
	small := w.another(holdfast.VPSDisk{Name: "disk0", SizeBytes: 48 * block})
	more := w.another(holdfast.VPSDisk{Name: "disk0", SizeBytes: 60 * block}, holdfast.VPSDisk{Name: "disk2", SizeBytes: block})
	c, caller := w.plane()
	ask := func(target holdfast.VPS, source, backup string) holdfast.Code {
		_, err := c.RestoreFromVPS(t.Context(), caller, target.ID.String(), control.FromVPS{SourceVPS: source, Backup: backup}, nil)
		return holdfast.CodeOf(err)
	}
	id, none := w.vps.ID.String(), holdfast.NewID[holdfast.VPSID]().String()
	for _, c := range []struct {
		what   string
		got    holdfast.Code
		wanted holdfast.Code
	}{
		{"itself", ask(w.vps, id, b.ID.String()), holdfast.CodeSameVPS},
		{"too small", ask(small, id, b.ID.String()), holdfast.CodeStorageTooSmall},
		{"a disk that the backup has not", ask(more, id, b.ID.String()), holdfast.CodeBackupNotRestorable},
		{"unknown source", ask(small, none, b.ID.String()), holdfast.CodeVPSNotFound},
		{"no id", ask(small, "../x", b.ID.String()), holdfast.CodeVPSNotFound},
		{"backup of another", ask(w.vps, small.ID.String(), b.ID.String()), holdfast.CodeBackupNotFound},
	} {
		if c.got != c.wanted {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.wanted)
		}
	}
}
