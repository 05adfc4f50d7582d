package store_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"holdfast"
	"holdfast/internal/testpg"
	"holdfast/store"
)

func TestMain(m *testing.M) {
	os.Exit(testpg.Run(m, func(ctx context.Context, url string) error {
		s, err := store.Open(ctx, url)
		if err != nil {
			return err
		}
		return s.Close()
	}))
}

// open opens a fresh database without a reserve, in a directory of the test.
func open(t *testing.T, opts ...store.Option) *store.Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "DB"), append([]store.Option{store.WithReserve(0)}, opts...)...)
}

func openAt(t *testing.T, path string, opts ...store.Option) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), testpg.At(t, path), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// write runs fn in a transaction that must succeed.
func write(t *testing.T, s *store.Store, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := s.Tx(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

// world is an account with a host to put VPSs on.
type world struct {
	account holdfast.Account
	host    holdfast.Host
}

var noon = time.Date(2030, 1, 2, 12, 0, 0, 123456000, time.UTC)

func newWorld(t *testing.T, s *store.Store) world {
	t.Helper()
	w := world{
		account: holdfast.Account{
			ID: holdfast.NewID[holdfast.AccountID](), Name: hexName(t), CreatedAt: noon, Active: true, BackupSlots: 3,
			Cloud:      holdfast.CloudFacts{Verified: true, CloudAccess: true, Limits: holdfast.CloudResources{CPUCores: 8, MemoryGb: 16, StorageGb: 500, Instances: 4}},
			WrappedKey: []byte{0, 1, 255, '\''}, NextWrappedKey: []byte{7}, RingEpoch: 3,
		},
		host: holdfast.Host{
			ID: holdfast.NewID[holdfast.HostID](), Region: "stockholm", Name: hexName(t), Driver: "sim", CreatedAt: noon,
			Enabled: true, SeenAt: noon, Capacity: holdfast.CloudResources{CPUCores: 64, MemoryGb: 256, StorageGb: 4000, Instances: 100},
			Snapshots: true,
		},
	}
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.InsertAccount(ctx, w.account),
			tx.PutRegion(ctx, holdfast.Region{ID: "stockholm", Name: "Stockholm", Default: true, CreatedAt: noon}),
			tx.PutHost(ctx, w.host))
	})
	return w
}

func hexName(t *testing.T) string {
	t.Helper()
	b := make([]byte, 6)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func (w world) vps(t *testing.T) holdfast.VPS {
	t.Helper()
	return holdfast.VPS{
		ID: holdfast.NewID[holdfast.VPSID](), AccountID: w.account.ID, Region: "stockholm", HostID: w.host.ID,
		Name: "Web-" + hexName(t), OS: &holdfast.OperatingSystem{DisplayName: "Debian 12", Family: "debian", Version: "12"},
		Service: holdfast.ServiceActive, Power: holdfast.PowerRunning, Desired: holdfast.PowerRunning,
		CPUCores: 2, MemoryMiB: 1025,
		Disks: []holdfast.VPSDisk{{Name: "disk0", SizeBytes: holdfast.GiB}, {Name: "disk1", SizeBytes: 1}},
		Boot:  holdfast.Boot{Kernel: "/k", Cmdline: "console=ttyS0 'quoted' ?0"}, MAC: hexName(t), PrimaryIP: "192.0.2.7",
		Ports:   []holdfast.ForwardedPort{{Address: "127.0.0.1", HostPort: 40000, GuestPort: 80}},
		Billing: holdfast.Billing{AmountMinor: 995, Currency: "EUR", Cycle: "monthly", IsPayg: true}, Generation: 3,
		CreatedAt: noon,
	}
}

func (w world) backup(v holdfast.VPS) holdfast.Backup {
	return holdfast.Backup{
		ID: holdfast.NewID[holdfast.BackupID](), AccountID: w.account.ID, VPSID: v.ID, Status: holdfast.BackupPending,
		Type: "manual", Note: "before ' the update", Protected: true, Site: "main", RequestedAt: noon, Generation: 3,
		CPUCores: 2, MemoryMiB: 512, Disks: v.Disks, Boot: v.Boot, OS: v.OS,
	}
}

func (w world) operation(v holdfast.VPS, kind holdfast.Kind, lock holdfast.Lock) holdfast.Operation {
	return holdfast.Operation{
		ID: holdfast.NewID[holdfast.JobID](), Kind: kind, AccountID: w.account.ID, VPSID: v.ID, HostID: w.host.ID,
		KeyID: holdfast.NewID[holdfast.KeyID](), Lock: lock, Status: holdfast.OperationQueued,
		Input: json.RawMessage(`{"a":"it's ?0"}`), CreatedAt: noon,
	}
}

// same fails unless what was read is what was written.
func same[T any](t *testing.T, what string, got T, err error, want T) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v, %v\nwant %+v", what, got, err, want)
	}
}

func TestNounsComeBackAsTheyWere(t *testing.T) {
	s, ctx := open(t), t.Context()
	w := newWorld(t, s)
	v := w.vps(t)
	b := w.backup(v)
	o := w.operation(v, holdfast.KindBackup, holdfast.LockData)
	o.BackupID = b.ID
	bare := holdfast.VPS{ID: holdfast.NewID[holdfast.VPSID](), AccountID: w.account.ID, Region: "stockholm", HostID: w.host.ID, Name: "bare",
		Disks: []holdfast.VPSDisk{}, Ports: []holdfast.ForwardedPort{}, CreatedAt: noon}
	key := holdfast.APIKey{ID: holdfast.NewID[holdfast.KeyID](), AccountID: w.account.ID, Name: "k", Scopes: holdfast.Scopes{holdfast.ScopeReadVM, holdfast.ScopeBackupVM}, Hash: "h", CreatedAt: noon, ExpiresAt: noon.Add(time.Hour)}
	op := store.OperatorKey{ID: holdfast.NewID[holdfast.KeyID](), Name: "o", Hash: "oh", CreatedAt: noon}
	img := holdfast.OSImage{ID: holdfast.NewID[holdfast.OSImageID](), Name: "debian-12", OS: *v.OS, Disk: "/d", Format: "qcow2", SizeBytes: 7, Boot: v.Boot, CreatedAt: noon}
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertVPS(ctx, v), tx.InsertVPS(ctx, bare), tx.InsertBackup(ctx, b), tx.InsertOperation(ctx, o),
			tx.InsertAPIKey(ctx, key), tx.InsertOperatorKey(ctx, op), tx.PutOSImage(ctx, img), tx.PutMeta(ctx, store.MetaInstance, []byte("x\x00")))
	})
	a, err := s.Account(ctx, w.account.ID)
	same(t, "account", a, err, w.account)
	a, err = s.AccountByName(ctx, w.account.Name)
	same(t, "account by name", a, err, w.account)
	h, err := s.Host(ctx, w.host.ID)
	same(t, "host", h, err, w.host)
	gv, err := s.VPS(ctx, v.ID)
	same(t, "vps", gv, err, v)
	gv, err = s.VPS(ctx, bare.ID)
	same(t, "bare vps", gv, err, bare)
	gb, err := s.BackupOf(ctx, w.account.ID, v.ID, b.ID)
	same(t, "backup", gb, err, b)
	gop, err := s.OperationOf(ctx, w.account.ID, o.ID)
	same(t, "operation", gop, err, o)
	gk, ga, err := s.APIKeyByHash(ctx, "h")
	same(t, "api key", gk, err, key)
	same(t, "its account", ga, err, w.account)
	gok, err := s.OperatorKeyByHash(ctx, "oh")
	same(t, "operator key", gok, err, op)
	gi, err := s.OSImageByName(ctx, "debian-12")
	same(t, "image", gi, err, img)
	m, err := s.Meta(ctx, store.MetaInstance)
	same(t, "meta", m, err, []byte("x\x00"))
	r, err := s.DefaultRegion(ctx)
	same(t, "region", r, err, holdfast.Region{ID: "stockholm", Name: "Stockholm", Default: true, CreatedAt: noon})
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	if testpg.On() {
		return // of SQLite's files
	}
	path := filepath.Join(t.TempDir(), "a ?dir#", "DB")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, store.WithReserve(1<<20))
	newWorld(t, s)
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 4 {
		t.Fatalf("database, log, index and reserve: %v, %v", files, err)
	}
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, fi.Mode(), err)
		}
	}
}

func TestReadersCannotWrite(t *testing.T) {
	s := open(t)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.TryWriteByReader(t.Context()); err == nil {
		t.Error("the read pool wrote")
	}
}
