package api_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"holdfast"
	"holdfast/api"
	"holdfast/control"
	"holdfast/internal/testpg"
	"holdfast/store"
)

// bench is the API over a real database, with two accounts, one region, one
// host and a VPS for each account.
type bench struct {
	t       testing.TB
	store   *store.Store
	control *control.Control
	handler http.Handler
	logged  *lockedBuffer
	spec    *document // answers are held against it

	seeds
	opened string // what store.Open was given
	fuzzed holdfast.BackupID

	mu  sync.Mutex
	now time.Time
}

// seeds are what every bench begins with.
type seeds struct {
	file           []byte // the database that holds them, if that is a file
	path           string // of the database
	account, other holdfast.AccountID
	full, otherKey string // all scopes
	read, backup   string // read:vm; backup:vm
	billing        string // backup:vm write:billing
	operator       string
	host           holdfast.HostID
	vps, foreign   holdfast.VPS // the account's, the other account's
}

// seedsMade are those of either database: its file, or its place.
var seedsMade = map[bool]seeds{}

// seeded makes the seeds once for all tests of the process: migrations and keys
// take longer than most tests.
func seeded(t testing.TB) seeds {
	t.Helper()
	if made, ok := seedsMade[testpg.On()]; ok {
		return made
	}
	b := &bench{t: t, now: time.Now()}
	b.path = filepath.Join(t.TempDir(), "seed.db")
	var err error
	b.store, err = store.Open(t.Context(), testpg.At(t, b.path), store.WithReserve(0))
	b.ok(err)
	b.control = control.New(b.store, controlOptions())
	b.seed()
	b.ok(b.store.Close()) // brings all of it into the one file
	if !testpg.On() {
		b.file, err = os.ReadFile(b.path)
		b.ok(err)
	}
	seedsMade[testpg.On()] = b.seeds
	return b.seeds
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

type benchOption func(*api.Options, *control.Options)

func newBench(t testing.TB, opts ...benchOption) *bench {
	t.Helper()
	made := seeded(t) // before the clock is read
	b := &bench{t: t, logged: &lockedBuffer{}, now: time.Now(), seeds: made}
	path := filepath.Join(t.TempDir(), "holdfast.db")
	if testpg.On() {
		path = testpg.CopyAt(t, path, made.path)
	} else {
		b.ok(os.WriteFile(path, b.file, 0o600))
	}
	b.opened = path
	b.serve(opts...)
	b.ok(b.control.TouchHost(b.ctx(), b.host))
	return b
}

// beside is another process that serves on the same database.
func (b *bench) beside(opts ...benchOption) *bench {
	b.t.Helper()
	other := &bench{t: b.t, logged: &lockedBuffer{}, now: b.clock(), seeds: b.seeds, opened: b.opened}
	other.serve(opts...)
	return other
}

func (b *bench) serve(opts ...benchOption) {
	b.t.Helper()
	b.open(b.opened)
	ao := api.Options{DocsBase: "https://docs.example.com", Clock: b.clock, Logger: slog.New(slog.NewTextHandler(b.logged, nil)), Version: "test"}
	co := controlOptions()
	for _, o := range opts {
		o(&ao, &co)
	}
	b.control = control.New(b.store, co)
	b.handler = api.New(b.control, ao)
	b.spec = loadDocument(b.t, b.handler)
}

func controlOptions() control.Options {
	return control.Options{WrapKey: func(context.Context, holdfast.AccountID) ([]byte, error) { return []byte("wrapped"), nil }}
}

func (b *bench) open(path string) {
	b.t.Helper()
	var err error
	b.store, err = store.Open(b.ctx(), path, store.WithWallClock(b.clock), store.WithReserve(0))
	b.ok(err)
	b.t.Cleanup(func() {
		if err := b.store.Close(); err != nil {
			b.t.Error(err)
		}
	})
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	b.now = b.now.Add(d)
	b.mu.Unlock()
	b.ok(b.control.TouchHost(b.ctx(), b.host))
}

func (b *bench) ctx() context.Context { return b.t.Context() }

func (b *bench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) seed() {
	key := func(account string, scopes ...string) string {
		k, err := b.control.CreateAPIKey(b.ctx(), control.CreateAPIKeyInput{Account: account, Scopes: scopes})
		b.ok(err)
		return k.Secret
	}
	for _, name := range []string{"main", "other"} {
		_, err := b.control.CreateAccount(b.ctx(), control.CreateAccountInput{Name: name, BackupSlots: 3})
		b.ok(err)
		yes, no, n, gb := true, false, 10, 10_000
		a, err := b.control.SetAccountFacts(b.ctx(), control.SetAccountInput{
			Account: name, Verified: &yes, CardOnFile: &yes, CloudAccess: &yes, UnpaidInvoice: &no,
			Limits: &control.LimitsPatch{CPUCores: &gb, MemoryGb: &gb, StorageGb: &gb, Instances: &n},
		})
		b.ok(err)
		if name == "main" {
			b.account = holdfast.AccountID(a.ID)
		} else {
			b.other = holdfast.AccountID(a.ID)
		}
	}
	b.full, b.otherKey = key("main", "read:all", "write:all"), key("other", "read:all", "write:all")
	b.read, b.backup, b.billing = key("main", "read:vm"), key("main", "backup:vm"), key("main", "backup:vm", "write:billing")
	op, err := b.control.CreateOperatorKey(b.ctx(), control.CreateOperatorKeyInput{})
	b.ok(err)
	b.operator = op.Secret
	_, err = b.control.CreateRegion(b.ctx(), control.RegionInfo{ID: "stockholm", Default: true})
	b.ok(err)
	h, err := b.control.RegisterHost(b.ctx(), control.RegisterHostInput{Name: "h1", Region: "stockholm", Driver: "sim", Snapshots: ptr(true)})
	b.ok(err)
	b.host = holdfast.HostID(h.ID)
	b.ok(b.control.TouchHost(b.ctx(), b.host))
	b.vps = b.insertVPS(b.account, "web-01")
	b.foreign = b.insertVPS(b.other, "theirs")
}

func (b *bench) insertVPS(account holdfast.AccountID, name string) holdfast.VPS {
	id := holdfast.NewID[holdfast.VPSID]()
	v := holdfast.VPS{
		ID: id, AccountID: account, Region: "stockholm", HostID: b.host, Name: name,
		OS:      &holdfast.OperatingSystem{DisplayName: "Debian 13", Family: "debian", Version: "13"},
		Service: holdfast.ServiceActive, Power: holdfast.PowerRunning, Desired: holdfast.PowerRunning,
		CPUCores: 2, MemoryMiB: 4096, Generation: 1,
		Disks:   []holdfast.VPSDisk{{Name: "disk0", SizeBytes: 70 * holdfast.GiB}, {Name: "disk1", SizeBytes: 10 * holdfast.GiB}},
		Boot:    holdfast.Boot{Kernel: "/boot/vmlinuz"},
		MAC:     "52:54:00:" + id.ULID()[20:22] + ":" + id.ULID()[22:24] + ":" + id.ULID()[24:],
		Ports:   []holdfast.ForwardedPort{{Address: "127.0.0.1", HostPort: 40080, GuestPort: 80}},
		Billing: holdfast.Billing{AmountMinor: 1250, Currency: "EUR", Cycle: "monthly"}, CreatedAt: b.clock(),
	}
	b.tx(func(tx *store.Tx) error { return tx.InsertVPS(b.ctx(), v) })
	return v
}

func (b *bench) tx(f func(*store.Tx) error) {
	b.t.Helper()
	b.ok(b.store.Tx(b.ctx(), f))
}

// insertBackup writes a completed backup of a VPS.
func (b *bench) insertBackup(v holdfast.VPS, change ...func(*holdfast.Backup)) holdfast.Backup {
	b.t.Helper()
	id := holdfast.NewID[holdfast.BackupID]()
	bk := holdfast.Backup{
		ID: id, AccountID: v.AccountID, VPSID: v.ID, Status: holdfast.BackupCompleted, Type: "manual", Site: "local",
		RequestedAt: b.clock(), PointAt: b.clock(), Point: id.ULID() + ".1", Generation: v.Generation,
		SizeBytes: v.StorageBytes(), CPUCores: v.CPUCores, MemoryMiB: v.MemoryMiB, Disks: v.Disks, Boot: v.Boot, OS: v.OS,
	}
	for _, f := range change {
		f(&bk)
	}
	b.tx(func(tx *store.Tx) error { return tx.InsertBackup(b.ctx(), bk) })
	return bk
}

// setAccount changes facts of the main account.
func (b *bench) setAccount(in control.SetAccountInput) {
	b.t.Helper()
	in.Account = "main"
	_, err := b.control.SetAccountFacts(b.ctx(), in)
	b.ok(err)
}
