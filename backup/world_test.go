package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/control"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/keys"
)

const (
	block    = 64 << 10 // of change tracking, and the vault's chunks
	ttl      = 2 * time.Second
	patience = 20 * time.Second

	firstPlace = "local"
)

// world is what outlives a process: the database, the hypervisor's directory
// and the place of the vault. A test can put its lease clock forward.
type world struct {
	t      testing.TB
	dir    string
	site   *mem.Storage
	others map[string]*fault.Storage // further places, by name
	care   control.Upkeep
	// sessions is what is known of the vaults' sessions.
	sessions map[string]vault.SessionState
	ring     keys.Ring
	ahead    atomic.Int64 // nanoseconds that the lease clock is put forward
	store    *store.Store
	account  holdfast.AccountID
	host     holdfast.HostID
	vps      holdfast.VPS
	parents  []holdfast.ParentBackup
	rand     *rand.Rand
	log      *slog.Logger
}

// newWorld has a running VPS with two disks of noise and holes.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), site: mem.New(), ring: keys.NewRing(), rand: rand.New(rand.NewPCG(1, 2)),
		account: holdfast.NewID[holdfast.AccountID](), host: holdfast.NewID[holdfast.HostID](),
		log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	w.vps = w.newVPS(holdfast.VPSDisk{Name: "disk0", SizeBytes: 32 * block}, holdfast.VPSDisk{Name: "disk1", SizeBytes: 16*block + 512})
	start := time.Now()
	fresh, err := database()
	w.ok(err)
	w.ok(os.WriteFile(filepath.Join(w.dir, "db"), fresh, 0o600))
	w.store, err = store.Open(t.Context(), filepath.Join(w.dir, "db"), store.WithReserve(0),
		store.WithSteadyClock(func() time.Duration { return time.Since(start) + time.Duration(w.ahead.Load()) }))
	w.ok(err)
	t.Cleanup(func() { w.ok(w.store.Close()) })
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.InsertAccount(ctx, holdfast.Account{ID: w.account, Name: "a", Active: true, BackupSlots: -1}),
			tx.PutRegion(ctx, holdfast.Region{ID: "r", Name: "R"}),
			tx.PutHost(ctx, holdfast.Host{ID: w.host, Region: "r", Name: "h", Enabled: true}),
			tx.InsertVPS(ctx, w.vps))
	})
	account := keys.NewAccountKey()
	_, err = vault.Init(t.Context(), w.site, vault.Config{
		Account: string(w.account), Ring: w.ring, WrappedRing: account.WrapRing(string(w.account), w.ring),
		ChunkSize: block, PackSize: 4 * block,
	})
	w.ok(err)
	h := w.hypervisor()
	w.ok(h.Define(t.Context(), compute.Machine{ID: string(w.vps.ID), Disks: []compute.Disk{
		{Name: "disk0", SizeBytes: 32 * block}, {Name: "disk1", SizeBytes: 16*block + 512},
	}}))
	w.ok(h.Start(t.Context(), string(w.vps.ID)))
	w.guestWrites("disk0", 0, 12*block)
	w.guestWrites("disk1", 4*block, 12*block+512)
	return w
}

// database is an empty database with its schema, made once: under the race
// detector that takes longer than most tests.
var database = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "db")
	s, err := store.Open(context.Background(), path, store.WithReserve(0))
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func (w *world) newVPS(disks ...holdfast.VPSDisk) holdfast.VPS {
	id := holdfast.NewID[holdfast.VPSID]()
	return holdfast.VPS{
		ID: id, AccountID: w.account, Region: "r", HostID: w.host, Name: "web", Service: holdfast.ServiceActive, Power: holdfast.PowerRunning,
		CPUCores: 1, MemoryMiB: 512, Disks: disks, MAC: string(id), Billing: holdfast.Billing{IsPayg: true}, Generation: 1, CreatedAt: time.Now(),
	}
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	w.ok(w.store.Tx(w.t.Context(), func(tx *store.Tx) error { return fn(w.t.Context(), tx) }))
}

// hypervisor is one process's view of the host.
func (w *world) hypervisor() *sim.Host {
	w.t.Helper()
	h, err := sim.Open(filepath.Join(w.dir, "host"))
	w.ok(err)
	return h
}

func (w *world) openVault() *vault.Vault {
	w.t.Helper()
	v, err := vault.Open(w.t.Context(), w.site, w.ring)
	w.ok(err)
	return v
}

// guestWrites noise, as the guest does.
func (w *world) guestWrites(disk string, off, n int64) {
	w.t.Helper()
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(w.rand.Uint32())
	}
	w.ok(w.hypervisor().WriteDisk(string(w.vps.ID), disk, p, off))
}

// contents are all disks of a VPS as they are now.
func (w *world) contents(v holdfast.VPS) map[string][]byte {
	w.t.Helper()
	out := map[string][]byte{}
	for _, d := range v.Disks {
		out[d.Name] = make([]byte, d.SizeBytes)
		w.ok(w.hypervisor().ReadDisk(string(v.ID), d.Name, out[d.Name], 0))
	}
	return out
}

// ask queues a backup as the control plane does.
func (w *world) ask() holdfast.Operation {
	w.t.Helper()
	b := holdfast.Backup{
		ID: holdfast.NewID[holdfast.BackupID](), AccountID: w.account, VPSID: w.vps.ID,
		Status: holdfast.BackupPending, RequestedAt: time.Now(), Generation: 1,
	}
	in := holdfast.BackupInput{Disks: w.vps.Disks, Generation: 1, Parents: w.parents}
	if len(w.parents) > 0 {
		in.Earlier = w.parents[0].ID
	}
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertBackup(ctx, b) })
	return w.queue(holdfast.Operation{Kind: holdfast.KindBackup, VPSID: w.vps.ID, BackupID: b.ID, Lock: holdfast.LockData}, in)
}

func (w *world) queue(o holdfast.Operation, input any) holdfast.Operation {
	w.t.Helper()
	raw, err := json.Marshal(input)
	w.ok(err)
	o.ID, o.AccountID, o.HostID, o.Input = holdfast.NewID[holdfast.JobID](), w.account, w.host, raw
	o.Status, o.CreatedAt = holdfast.OperationQueued, time.Now()
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertOperation(ctx, o) })
	return o
}

func (w *world) see(id holdfast.JobID) holdfast.Operation {
	w.t.Helper()
	o, err := w.store.Operation(context.WithoutCancel(w.t.Context()), id)
	w.ok(err)
	return o
}

// backup runs a backup to its end without faults, and lets later ones build on it.
func (w *world) backup() holdfast.Backup {
	w.t.Helper()
	o := w.ask()
	w.process().finish(o)
	return w.completed(o)
}

// completed is the backup that an operation has made.
func (w *world) completed(o holdfast.Operation) holdfast.Backup {
	w.t.Helper()
	if o = w.see(o.ID); o.Status != holdfast.OperationCompleted {
		w.t.Fatalf("the backup is %s: %+v", o.Status, o.Failure)
	}
	b, err := w.store.Backup(w.t.Context(), o.BackupID)
	w.ok(err)
	if b.Status != holdfast.BackupCompleted {
		w.t.Fatalf("the backup's row is %s", b.Status)
	}
	w.parents = append([]holdfast.ParentBackup{{ID: b.ID, Point: b.Point}}, w.parents...)
	return b
}

// holds proves that a backup holds these bytes and nothing else.
func (w *world) holds(b holdfast.Backup, want map[string][]byte) {
	w.t.Helper()
	v := w.openVault()
	m, err := v.Manifest(w.t.Context(), string(b.ID))
	w.ok(err)
	if len(m.Images) != len(want) {
		w.t.Fatalf("%d images for %d disks", len(m.Images), len(want))
	}
	for _, image := range m.Images {
		r, err := v.OpenImage(w.t.Context(), image)
		w.ok(err)
		got := make([]byte, r.Size())
		if n, err := r.ReadAt(got, 0); n < len(got) {
			w.t.Fatal(err)
		}
		if !bytes.Equal(got, want[image.Name]) {
			w.t.Errorf("%s of the backup is not what the disk held", image.Name)
		}
	}
}

// blobs are the names in the vault with a prefix.
func (w *world) blobs(prefix string) []string {
	w.t.Helper()
	var out []string
	for info, err := range w.site.List(context.WithoutCancel(w.t.Context()), prefix) {
		w.ok(err)
		out = append(out, info.Name)
	}
	slices.Sort(out)
	return out
}

// clean proves that neither the hypervisor nor the vault keeps anything of a
// backup that has ended.
func (w *world) clean() {
	w.t.Helper()
	for _, s := range w.blobs("sessions/") {
		// A session that was given up waits for a collector to end it.
		if id := strings.TrimPrefix(s, "sessions/"); !slices.Contains(w.blobs("notices/"), "notices/"+id) {
			w.t.Errorf("session %s is left in the vault", id)
		}
	}
	open, err := filepath.Glob(filepath.Join(w.dir, "host", "machines", "*", "points", "*"))
	w.ok(err)
	for _, p := range open {
		w.t.Errorf("point in time left: %s", strings.TrimPrefix(p, w.dir))
	}
	state, err := os.ReadFile(filepath.Join(w.dir, "host", "machines", string(w.vps.ID), "state.json"))
	w.ok(err)
	if bytes.Contains(state, []byte(`"point":{`)) {
		w.t.Errorf("a point in time is open: %s", state)
	}
}

// failed proves that an operation ended with this code and left nothing.
func (w *world) failed(o holdfast.Operation, code holdfast.Code) {
	w.t.Helper()
	o = w.see(o.ID)
	if o.Status != holdfast.OperationFailed || o.Failure == nil || o.Failure.Code != code {
		w.t.Fatalf("the operation is %s with %+v, and should have failed with %s", o.Status, o.Failure, code)
	}
	if o.Kind == holdfast.KindBackup {
		if m := w.blobs("backups/" + string(o.BackupID)); len(m) > 0 {
			w.t.Errorf("a failed backup left its manifest: %v", m)
		}
		b, err := w.store.Backup(w.t.Context(), o.BackupID)
		w.ok(err)
		if b.Status != holdfast.BackupFailed {
			w.t.Errorf("the backup's row is %s", b.Status)
		}
	}
	w.clean()
}
