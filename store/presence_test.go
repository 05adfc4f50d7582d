package store_test

import (
	"errors"
	"testing"

	"holdfast/internal/testpg"
	"holdfast/store"
)

// Two services on one database are two hosts, and whoever replaces a key sees which
// one they were started with.
func TestServicesAppear(t *testing.T) {
	if !testpg.On() {
		return // on SQLite the data directory's lock knows
	}
	path := t.TempDir()
	s, one, two := openAt(t, path), openAt(t, path), openAt(t, path)
	appears := func(who *store.Store, host, mark string, want error) {
		t.Helper()
		if err := who.Appear(t.Context(), host, mark); !errors.Is(err, want) {
			t.Errorf("%s appears: %v", host, err)
		}
	}
	sees := func(mark string, n int, all bool) {
		t.Helper()
		if gn, gall, err := s.Services(t.Context(), mark); gn != n || gall != all || err != nil {
			t.Errorf("%d services, all of %s: %v, %v", gn, mark, gall, err)
		}
	}
	sees("old", 0, true)
	appears(one, "h1", "old", nil)
	sees("old", 1, true)
	appears(two, "h1", "new", store.ErrConflict)
	appears(two, "h2", "new", nil)
	sees("old", 2, false)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	sees("new", 1, true)
	third := openAt(t, path)
	appears(third, "h1", "new", nil)
	sees("new", 2, true)
}
