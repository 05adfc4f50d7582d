package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/internal/testpg"
	"holdfast/operation"
	"holdfast/store"
)

// queueWorld is a database with an account, a host and a VPS, and the door to
// its operations.
type queueWorld struct {
	t       testing.TB
	path    string
	store   *store.Store
	queue   *control.Queue
	log     *lockedBuffer
	steady  atomic.Int64 // nanoseconds of the lease clock
	wall    atomic.Int64 // seconds the wall clock is off
	account holdfast.AccountID
	host    holdfast.HostID
	vps     holdfast.VPS
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const queueTTL = 2 * time.Second

var someTime = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

// newQueueWorld opens a database whose lease clock stands still until the test
// moves it.
func newQueueWorld(t testing.TB) *queueWorld {
	t.Helper()
	w := &queueWorld{
		t: t, path: filepath.Join(t.TempDir(), "DB"), log: &lockedBuffer{},
		account: holdfast.NewID[holdfast.AccountID](), host: holdfast.NewID[holdfast.HostID](),
	}
	w.store, w.queue = w.open()
	w.vps = w.machine(holdfast.PowerRunning)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.InsertAccount(ctx, holdfast.Account{ID: w.account, Name: "a", Active: true}),
			tx.PutRegion(ctx, holdfast.Region{ID: "r", Name: "R"}),
			tx.PutHost(ctx, holdfast.Host{ID: w.host, Region: "r", Name: "h", Enabled: true}),
			tx.InsertVPS(ctx, w.vps))
	})
	return w
}

// open opens the database once more, as another process would.
func (w *queueWorld) open() (*store.Store, *control.Queue) {
	w.t.Helper()
	s, err := store.Open(w.t.Context(), testpg.At(w.t, w.path), store.WithReserve(0),
		store.WithSteadyClock(func() time.Duration { return time.Duration(w.steady.Load()) }),
		store.WithWallClock(func() time.Time { return someTime.Add(time.Duration(w.wall.Load()) * time.Second) }))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return s, control.NewQueue(s, slog.New(slog.NewTextHandler(io.MultiWriter(w.log), nil)))
}

func (w *queueWorld) pass(d time.Duration) { w.steady.Add(int64(d)) }

func (w *queueWorld) write(fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	if err := w.store.Tx(w.t.Context(), func(tx *store.Tx) error { return fn(w.t.Context(), tx) }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *queueWorld) machine(power holdfast.PowerState) holdfast.VPS {
	id := holdfast.NewID[holdfast.VPSID]()
	return holdfast.VPS{
		ID: id, AccountID: w.account, Region: "r", HostID: w.host, Name: "web", Service: holdfast.ServiceActive, Power: power,
		CPUCores: 1, MemoryMiB: 512, Disks: []holdfast.VPSDisk{{Name: "disk0", SizeBytes: holdfast.GiB}}, MAC: string(id),
		Ports:   []holdfast.ForwardedPort{{Address: "127.0.0.1", HostPort: 1, GuestPort: 2}},
		Billing: holdfast.Billing{IsPayg: true}, Generation: 1, CreatedAt: someTime,
	}
}

// add queues an operation on the world's VPS unless it names another.
func (w *queueWorld) add(o holdfast.Operation) holdfast.Operation {
	w.t.Helper()
	o.ID, o.AccountID, o.HostID = holdfast.NewID[holdfast.JobID](), w.account, w.host
	if o.VPSID == "" {
		o.VPSID = w.vps.ID
	}
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertOperation(ctx, o) })
	return o
}

// backup queues a backup with its row.
func (w *queueWorld) backup() (holdfast.Operation, holdfast.BackupID) {
	w.t.Helper()
	b := holdfast.Backup{ID: holdfast.NewID[holdfast.BackupID](), AccountID: w.account, VPSID: w.vps.ID, Status: holdfast.BackupPending, RequestedAt: someTime}
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertBackup(ctx, b) })
	return w.add(holdfast.Operation{Kind: holdfast.KindBackup, BackupID: b.ID, Lock: holdfast.LockData}), b.ID
}

var allKinds = []holdfast.Kind{
	holdfast.KindBackup, holdfast.KindBackupDelete, holdfast.KindRestoreToPayg,
	holdfast.KindVPSCreate, holdfast.KindVPSStart, holdfast.KindVPSStop, holdfast.KindVPSDelete,
	holdfast.KindRestoreInPlace, holdfast.KindRestoreUndo, holdfast.KindGenerationDrop,
	holdfast.KindVPSReshape, holdfast.KindVPSRestart, holdfast.KindVPSReset, holdfast.KindSnapshotCreate, holdfast.KindSnapshotRestore, holdfast.KindSnapshotDelete,
	holdfast.KindCopy, holdfast.KindCopyDelete, holdfast.KindVaultCollect,
}

func (w *queueWorld) tryClaim(q operation.Queue, runner string) (holdfast.Operation, operation.Lease, error) {
	w.t.Helper()
	o, err := q.Claim(w.t.Context(), operation.ClaimRequest{Runner: runner, Host: w.host, Kinds: allKinds, TTL: queueTTL})
	return o, operation.Lease{Job: o.ID, Epoch: o.Epoch, Runner: runner}, err
}

func (w *queueWorld) claim(runner string) (holdfast.Operation, operation.Lease) {
	w.t.Helper()
	o, l, err := w.tryClaim(w.queue, runner)
	if err != nil {
		w.t.Fatal(err)
	}
	return o, l
}

// run claims the next operation and ends it.
func (w *queueWorld) run(out operation.Outcome) holdfast.Operation {
	w.t.Helper()
	o, l := w.claim("runner")
	if err := w.queue.Finish(w.t.Context(), l, out); err != nil {
		w.t.Fatal(err)
	}
	return w.see(o.ID)
}

func (w *queueWorld) see(id holdfast.JobID) holdfast.Operation {
	w.t.Helper()
	o, err := w.store.Operation(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *queueWorld) seeVPS(id holdfast.VPSID) holdfast.VPS {
	w.t.Helper()
	v, err := w.store.VPS(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *queueWorld) backupStatus(id holdfast.BackupID) holdfast.BackupStatus {
	w.t.Helper()
	b, err := w.store.Backup(w.t.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return b.Status
}

func (w *queueWorld) idle() {
	w.t.Helper()
	if o, _, err := w.tryClaim(w.queue, "idle"); !errors.Is(err, operation.ErrNone) {
		w.t.Errorf("there is something to claim: %+v, %v", o, err)
	}
}

// report is JSON as a runner sends it.
func report(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func goodBackup() holdfast.BackupReport {
	return holdfast.BackupReport{
		PointAt: someTime.Add(-time.Minute), Point: "p1", SizeBytes: 3 * holdfast.GiB / 2, ChangedBytes: 4096, TransferredBytes: 1024,
		Incremental: holdfast.IncrementalDelta, Consistency: holdfast.ConsistencyCrash,
	}
}

func hasAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
