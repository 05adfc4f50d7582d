package store_test

import (
	"path/filepath"
	"reflect"
	"testing"

	"holdfast/internal/testpg"
	"holdfast/store"
)

// Both databases have the same tables, columns, defaults and unique rules: a
// migration of one is one of the other.
func TestSchemasAreTheSame(t *testing.T) {
	if !testpg.On() {
		return // the second turn has both
	}
	ours := openAt(t, "the schema")
	file, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "DB"), store.WithReserve(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	here, err := ours.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there, err := file.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(there) < 15 {
		t.Fatalf("only %d tables", len(there))
	}
	for table, columns := range there {
		if !reflect.DeepEqual(here[table], columns) {
			t.Errorf("%s: every migration is written for both databases, under the same number:\n  SQLite     %v\n  PostgreSQL %v", table, columns, here[table])
		}
	}
	for table := range here {
		if there[table] == nil {
			t.Errorf("%s is on PostgreSQL only", table)
		}
	}
	if a, b, err := store.Migrations(); err != nil || a != b {
		t.Errorf("the newest migrations are %d and %d: %v", a, b, err)
	}
}
