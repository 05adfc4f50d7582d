package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"holdfast"
	"holdfast/internal/testpg"
	"holdfast/store"
)

// accounts of the first schema keep their keys.
func TestAccountsOfTheFirstSchema(t *testing.T) {
	if testpg.On() {
		return // of SQLite's files
	}
	path := filepath.Join(t.TempDir(), "DB")
	id := holdfast.NewID[holdfast.AccountID]()
	err := store.SchemaAt(t.Context(), path, 1,
		"INSERT INTO accounts VALUES ('"+string(id)+"', 'acme', 1, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, x'0102ff')")
	if err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, store.WithReserve(0))
	a, err := s.Account(t.Context(), id)
	if err != nil || !bytes.Equal(a.WrappedKey, []byte{1, 2, 255}) || len(a.NextWrappedKey) != 0 || a.RingEpoch != 0 || !a.ShreddedAt.IsZero() || a.BackupSlots != 5 {
		t.Errorf("account: %+v, %v", a, err)
	}
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		a.Name = "other"
		return errors.Join(tx.SetAccountKeys(ctx, id, []byte{9}, []byte{8}), tx.RaiseRingEpoch(ctx, id, 4), tx.RaiseRingEpoch(ctx, id, 2), tx.UpdateAccount(ctx, a))
	})
	a, err = s.Account(t.Context(), id)
	if err != nil || a.Name != "other" || a.WrappedKey[0] != 9 || a.NextWrappedKey[0] != 8 || a.RingEpoch != 4 {
		t.Errorf("account: %+v, %v", a, err)
	}
}

func TestKitsAndCertificates(t *testing.T) {
	s := open(t)
	w := newWorld(t, s)
	kits := []holdfast.KitIssue{{Number: 1, IssuedAt: noon, Fingerprint: "ab"}, {Number: 2, IssuedAt: noon, Fingerprint: "cd"}}
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertKit(ctx, w.account.ID, kits[1]), tx.InsertKit(ctx, w.account.ID, kits[0]),
			tx.PutCertificate(ctx, w.account.ID, []byte("{}")), tx.PutCertificate(ctx, w.account.ID, []byte(`{"a":1}`)))
	})
	got, err := s.Kits(t.Context(), w.account.ID)
	same(t, "kits", got, err, kits)
	doc, err := s.Certificate(t.Context(), w.account.ID)
	same(t, "certificate", string(doc), err, `{"a":1}`)
	if _, err := s.Certificate(t.Context(), holdfast.NewID[holdfast.AccountID]()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no certificate: %v", err)
	}
	err = s.Tx(t.Context(), func(tx *store.Tx) error { return tx.InsertKit(t.Context(), w.account.ID, kits[0]) })
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("a kit's number twice: %v", err)
	}
}

// What a thief of the database file finds of a destroyed key is nothing, while
// another process has the database open; the keys of others are there.
func TestShreddedKeysAreNotInTheFiles(t *testing.T) {
	if testpg.On() {
		return // of SQLite's files
	}
	path := filepath.Join(t.TempDir(), "DB")
	s := openAt(t, path, store.WithReserve(0))
	service := openAt(t, path, store.WithReserve(0))
	w := newWorld(t, s)
	v := w.vps(t)
	done, pending := w.backup(v), w.backup(v)
	done.Status, pending.Status = holdfast.BackupCompleted, holdfast.BackupFailed
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertVPS(ctx, v), tx.InsertBackup(ctx, done), tx.InsertBackup(ctx, pending))
	})
	// Rows come, grow and go, so that pages are split and rearranged.
	var doomed holdfast.Account
	secrets := map[holdfast.AccountID][]byte{}
	for i := range 120 {
		a := w.account
		a.ID, a.Name, a.WrappedKey = holdfast.NewID[holdfast.AccountID](), hexName(t), random(t)
		secrets[a.ID] = a.WrappedKey
		if i == 60 {
			doomed = a
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.InsertAccount(ctx, a) })
	}
	next := random(t)
	write(t, service, func(ctx context.Context, tx *store.Tx) error {
		return tx.SetAccountKeys(ctx, doomed.ID, doomed.WrappedKey, next)
	})
	if found := inFiles(t, path, doomed.WrappedKey); !found {
		t.Fatal("the key is not found before it is destroyed: the test looks in the wrong place")
	}
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ShredAccount(ctx, doomed.ID, noon)
		if n != 0 {
			t.Errorf("%d backups", n)
		}
		return err
	})
	if certain, err := s.Scrub(t.Context()); err != nil || !certain {
		t.Fatal(certain, err)
	}
	if inFiles(t, path, doomed.WrappedKey) || inFiles(t, path, next) {
		t.Error("a destroyed key is still in the database's files")
	}
	a, err := service.Account(t.Context(), doomed.ID)
	if err != nil || len(a.WrappedKey) != 0 || len(a.NextWrappedKey) != 0 || !a.ShreddedAt.Equal(noon) {
		t.Errorf("account: %+v, %v", a, err)
	}
	for id, secret := range secrets {
		if a, err := service.Account(t.Context(), id); id != doomed.ID && (err != nil || !bytes.Equal(a.WrappedKey, secret)) {
			t.Errorf("another's key: %v", err)
		}
	}
	for name, change := range map[string]func(tx *store.Tx) error{
		"new keys": func(tx *store.Tx) error { return tx.SetAccountKeys(t.Context(), doomed.ID, []byte{1}, nil) },
		"again":    func(tx *store.Tx) error { _, err := tx.ShredAccount(t.Context(), doomed.ID, noon); return err },
	} {
		if err := s.Tx(t.Context(), change); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Completed backups are deleted ones with it; what failed stays what it was.
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ShredAccount(ctx, w.account.ID, noon)
		if n != 1 {
			t.Errorf("%d backups", n)
		}
		return err
	})
	got, err := s.Backup(t.Context(), done.ID)
	if err != nil || got.Status != holdfast.BackupDeleted {
		t.Errorf("backup: %v, %v", got.Status, err)
	}
}

func random(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, 61)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// inFiles reports whether bytes, or half of them, are in a file of the database.
func inFiles(t *testing.T, path string, secret []byte) bool {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	if err != nil || len(names) < 2 {
		t.Fatalf("files: %v, %v", names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name) // #nosec G304 -- our own directory
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at+20 <= len(secret); at += 20 {
			if bytes.Contains(data, secret[at:at+20]) {
				return true
			}
		}
	}
	return false
}
