package store_test

import (
	"errors"
	"path/filepath"
	"testing"

	"holdfast/internal/testpg"
	"holdfast/store"
)

// Two processes on one database: the second one waits for the first, and no
// change is lost.
func TestTwoWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "DB")
	const each = 100
	done := make(chan error, 2)
	for range 2 {
		s := openAt(t, path, store.WithReserve(0))
		go func() {
			var err error
			for range each {
				err = errors.Join(err, s.Tx(t.Context(), func(tx *store.Tx) error {
					have, err := tx.Meta(t.Context(), "n")
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						return err
					}
					return tx.PutMeta(t.Context(), "n", append(have, 'x'))
				}))
			}
			done <- err
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	n, err := openAt(t, path, store.WithReserve(0)).Meta(t.Context(), "n")
	if err != nil || len(n) != 2*each {
		t.Errorf("%d, %v", len(n), err)
	}
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "DB")
	s := openAt(t, path, store.WithReserve(0))
	if err := s.PretendNewer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := store.Open(t.Context(), testpg.At(t, path), store.WithReserve(0)); err == nil {
		t.Error(s.Close(), "opened a database of a newer version")
	}
}
