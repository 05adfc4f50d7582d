package s3_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
	"holdfast/vault/check"
	"holdfast/vault/keys"
)

func newVault(t testing.TB, st blob.Storage, packSize int) (*vault.Vault, keys.Ring) {
	t.Helper()
	master, account, ring := keys.NewMasterKey(), keys.NewAccountKey(), keys.NewRing()
	v, err := vault.Init(t.Context(), st, vault.Config{
		Account: "acc-1", Ring: ring, WrappedAccount: master.WrapAccount("acc-1", account), MasterCheck: master.Check(),
		WrappedRing: account.WrapRing("acc-1", ring), PackSize: packSize,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v, ring
}

func noise(size int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	data := make([]byte, size)
	_, _ = r.Read(data) // never fails
	return data
}

func backup(t testing.TB, v *vault.Vault, id string, disk []byte, parent string, changed ...vault.Range) {
	t.Helper()
	in := vault.ImageInput{Name: "disk0", Size: int64(len(disk)), Point: id, Read: bytes.NewReader(disk), Ranges: extents(changed)}
	if parent != "" {
		in.Parent = &vault.Parent{Backup: parent, Image: "disk0"}
	}
	err := v.Write(t.Context(), "s-"+id, func(ctx context.Context, s *vault.Session) error {
		im, err := s.WriteImage(ctx, in)
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: id, CreatedAt: time.Now(), Images: []vault.Image{im}})
		return err
	})
	if err != nil {
		t.Fatalf("backup %s: %v", id, err)
	}
}

func extents(rs []vault.Range) iter.Seq2[vault.Range, error] {
	return func(yield func(vault.Range, error) bool) {
		for _, r := range rs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

type memDisk []byte

func (d memDisk) WriteAt(p []byte, off int64) (int, error) { return copy(d[off:], p), nil }

func restore(t testing.TB, v *vault.Vault, id string, size int) []byte {
	t.Helper()
	m, err := v.Manifest(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	im, _ := m.Image("disk0")
	r, err := v.OpenImage(t.Context(), im)
	if err != nil {
		t.Fatal(err)
	}
	out := make(memDisk, size)
	if err := r.Restore(t.Context(), out, vault.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	return out
}

// A whole life on S3: two backups, read by another process, proved, one deleted,
// through a network that refuses every fifth request and loses every twelfth answer.
func TestVault(t *testing.T) {
	server := s3test.Gateway(t)
	for _, kind := range []struct {
		name string
		lock *s3.Lock
	}{{"plain", nil}, {"locked", &s3.Lock{For: time.Hour}}} {
		t.Run(kind.name, func(t *testing.T) {
			proxy := s3test.NewProxy(t, server)
			c := server.Bucket(t, "vault-"+kind.name, kind.lock != nil)
			c.Endpoint, c.Lock = proxy.URL, kind.lock
			proxy.Handle(weather())
			livesOn(t, open(t, c), open(t, c), proxy)
		})
	}
}

// weather refuses and loses.
func weather() handler {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		switch i := n.Add(1); {
		case i%12 == 7:
			s3test.LoseAnswer(r, pass)
		case i%5 == 0:
			s3test.Refuse(w, r, http.StatusServiceUnavailable, "SlowDown")
		default:
			pass.ServeHTTP(w, r)
		}
	}
}

func livesOn(t *testing.T, st, again blob.Storage, proxy *s3test.Proxy) {
	t.Helper()
	v, ring := newVault(t, st, 1<<20)
	first := noise(4<<20, 1)
	second := slices.Clone(first)
	copy(second[2<<20:], noise(1<<20, 2))
	backup(t, v, "b1", first, "", vault.Range{Length: int64(len(first))})
	backup(t, v, "b2", second, "b1", vault.Range{Offset: 2 << 20, Length: 1 << 20})
	other, err := vault.Open(t.Context(), again, ring)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(restore(t, other, "b1", len(first)), first) || !bytes.Equal(restore(t, other, "b2", len(second)), second) {
		t.Fatal("restored bytes differ")
	}
	proxy.Handle(nil)
	report, err := check.Run(t.Context(), other, check.Options{ReadData: true})
	if err != nil || !report.OK || report.Backups != 2 {
		t.Fatalf("check: %+v, %v", report, err)
	}
	err = v.DeleteBackup(t.Context(), "b1")
	if until, rerr := blob.AsRetainer(st).RetainedUntil(t.Context(), "vault.json"); rerr != nil ||
		errors.Is(err, blob.ErrRetained) == until.IsZero() {
		t.Errorf("deleting what is locked until %s: %v, %v", until, err, rerr)
	}
	if !bytes.Equal(restore(t, other, "b2", len(second)), second) {
		t.Fatal("restored bytes differ after a deletion")
	}
}
