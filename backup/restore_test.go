package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"holdfast"
	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/store"
	"holdfast/vault/blob/fault"
)

// askRestore queues a restore to a new Cloud VM whose first disk is larger.
func (w *world) askRestore(b holdfast.Backup) (holdfast.Operation, holdfast.VPS) {
	w.t.Helper()
	v := w.newVPS(w.vps.Disks...)
	v.Disks = append([]holdfast.VPSDisk{{Name: "disk0", SizeBytes: 50 * block}}, w.vps.Disks[1:]...)
	v.Service, v.Power = holdfast.ServicePending, holdfast.PowerProvisioning
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertVPS(ctx, v) })
	return w.queue(holdfast.Operation{Kind: holdfast.KindRestoreToPayg, VPSID: v.ID, BackupID: b.ID, Lock: holdfast.LockData},
		holdfast.RestoreInput{Source: w.vps.ID, Region: "r", Machine: holdfast.MachineInput{
			Hostname: "web", CPUCores: 1, MemoryMiB: 256, Disks: v.Disks, MAC: v.MAC, Network: "user", Forward: []int{22, 80},
		}}), v
}

// restored proves that a Cloud VM runs with these bytes on its disks, and with
// zeros where the first one was grown.
func (w *world) restored(o holdfast.Operation, v holdfast.VPS, want map[string][]byte) {
	w.t.Helper()
	if o = w.see(o.ID); o.Status != holdfast.OperationCompleted {
		w.t.Fatalf("the restore is %s: %+v", o.Status, o.Failure)
	}
	got := w.contents(v)
	for name, content := range want {
		if !bytes.Equal(got[name][:len(content)], content) {
			w.t.Errorf("%s is not what was backed up", name)
		}
		if len(bytes.Trim(got[name][len(content):], "\x00")) > 0 {
			w.t.Errorf("%s does not end with zeros", name)
		}
	}
	st, err := w.hypervisor().Inspect(w.t.Context(), string(v.ID))
	w.ok(err)
	if st.Power != compute.Running {
		w.t.Errorf("the Cloud VM is %s", st.Power)
	}
	row, err := w.store.VPS(w.t.Context(), v.ID)
	w.ok(err)
	if row.Service != holdfast.ServiceActive || row.Power != holdfast.PowerRunning || len(row.Ports) != 2 {
		w.t.Errorf("the row: %+v", row)
	}
	if o.Progress.Current != o.Progress.Total || o.Progress.Total != 25*block { // in whole chunks
		w.t.Errorf("progress %+v", o.Progress)
	}
}

func TestRestoreOfSeveralDisks(t *testing.T) {
	w := newWorld(t)
	b := w.backup()
	want := w.contents(w.vps)
	w.guestWrites("disk0", 0, 4*block) // the source goes on, and is not touched
	source := w.contents(w.vps)
	o, v := w.askRestore(b)
	p := w.process()
	p.finish(o)
	w.restored(o, v, want)
	p.neverBack()
	if !bytes.Equal(w.contents(w.vps)["disk0"], source["disk0"]) {
		t.Error("the source was touched")
	}
}

func TestRestoreGoesOnFromItsCheckpoint(t *testing.T) {
	w := newWorld(t)
	b := w.backup()
	want := w.contents(w.vps)
	o, v := w.askRestore(b)
	p := w.process()
	p.door.rewrite = map[string]string{"disk/disk0": fmt.Sprintf(`{"offset":%d}`, 8*block)}
	p.run(p.until(p.dead.Load))

	// What lies before the checkpoint is not written again.
	mark := []byte("kept")
	f, err := os.OpenFile(filepath.Join(w.dir, "host", "machines", string(v.ID), "gen-1", "disk0.raw"), os.O_WRONLY, 0)
	w.ok(err)
	_, err = f.WriteAt(mark, 0)
	w.ok(err)
	w.ok(f.Close())
	copy(want["disk0"], mark)

	w.ahead.Add(int64(2 * ttl))
	successor := w.process()
	successor.finish(o)
	w.restored(o, v, want)
	successor.neverBack()
}

func TestRestoreKilledBetweenDisks(t *testing.T) {
	w := newWorld(t)
	b := w.backup()
	o, v := w.askRestore(b)
	p := w.process()
	p.atCall("fill", 2)
	p.run(p.until(p.dead.Load))
	w.ahead.Add(int64(2 * ttl))
	successor := w.process()
	fills := 0
	successor.inject(sim.Faults{}, func(name string, n int) error {
		if name == "fill" {
			fills = n
		}
		return nil
	})
	successor.finish(o)
	w.restored(o, v, w.contents(w.vps))
	if fills != 1 {
		t.Errorf("%d disks were filled again", fills)
	}
}

// A machine that went away meanwhile takes with it what was written.
func TestRestoreWhoseMachineIsGone(t *testing.T) {
	w := newWorld(t)
	b := w.backup()
	o, v := w.askRestore(b)
	p := w.process()
	p.atCall("start", 1)
	p.run(p.until(p.dead.Load))
	w.ok(w.hypervisor().Delete(t.Context(), string(v.ID)))
	w.ahead.Add(int64(2 * ttl))
	w.process().finish(o)
	w.restored(o, v, w.contents(w.vps))
}

func TestRestoreFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  holdfast.Code
		spoil func(w *world, p *process, b holdfast.Backup)
	}{
		{"host full", holdfast.CodeHostDiskFull, func(_ *world, p *process, _ holdfast.Backup) {
			p.inject(sim.Faults{SpaceBytes: 4 * block}, nil)
		}},
		{"damaged packs", holdfast.CodeBackupDamaged, func(w *world, _ *process, _ holdfast.Backup) { w.damage("packs/") }},
		{"damaged manifest", holdfast.CodeBackupDamaged, func(w *world, _ *process, _ holdfast.Backup) { w.damage("backups/") }},
		{"damaged vault.json", holdfast.CodeBackupDamaged, func(w *world, _ *process, _ holdfast.Backup) { w.damage("vault.json") }},
		{"deleted", holdfast.CodeBackupNotFound, func(w *world, _ *process, b holdfast.Backup) {
			w.ok(w.openVault().DeleteBackup(context.Background(), string(b.ID)))
		}},
		{"no port is free", holdfast.CodeRegionCapacity, func(_ *world, p *process, _ holdfast.Backup) {
			p.service.Host.Ports.Last = p.service.Host.Ports.First
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.backup()
			p := w.process()
			c.spoil(w, p, b)
			o, v := w.askRestore(b)
			p.finish(o)
			w.failed(o, c.code)
			if n := w.see(o.ID).Attempts; n != 0 {
				t.Errorf("%d attempts failed: trying again is of no use", n)
			}
			if _, err := w.store.VPS(t.Context(), v.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the new VPS is still there: %v", err)
			}
		})
	}
}

// damage spoils every blob with a prefix, as a rotten disk or a stranger with
// access to the site does.
func (w *world) damage(prefix string) {
	for _, name := range w.blobs(prefix) {
		w.site.Tamper(name, func(b []byte) []byte {
			for i := len(b) / 2; i < len(b)-1; i++ {
				b[i] ^= 0x55
			}
			return b
		})
	}
}

func TestRestoreCancelled(t *testing.T) {
	w := newWorld(t)
	b := w.backup()
	o, _ := w.askRestore(b)
	p := w.process()
	p.slow()
	begun := p.begun(fault.Read)
	go func() {
		<-begun
		w.cancel(o)
	}()
	p.finish(o)
	w.failed(o, holdfast.CodeCancelled)
}

// A site that fails for now, and a storage that answers with the wrong bytes
// once, do not end a restore.
func TestRestoreFromAShakySite(t *testing.T) {
	w := newWorld(t)
	b := w.backup()
	o, v := w.askRestore(b)
	p := w.process()
	p.storage.AddFault(fault.Read).On("packs/").Skip(1).Change(func(b []byte) []byte { clear(b); return b })
	p.storage.AddFault(fault.Get).On("backups/").ErrorInstead(&net.OpError{Op: "read", Err: errors.New("connection reset")})
	p.finish(o)
	w.restored(o, v, w.contents(w.vps))
	if n := w.see(o.ID).Attempts; n != 1 {
		t.Errorf("%d attempts failed", n)
	}
}
