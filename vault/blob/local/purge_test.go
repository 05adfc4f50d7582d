package local_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What a purged file held is overwritten before its name goes: a second name of
// it, as a careless copy makes, shows what is left.
func TestPurge(t *testing.T) {
	dir := t.TempDir()
	st := open(t, dir)
	large := bytes.Repeat([]byte("secret"), 50_000)
	for name, data := range map[string][]byte{"keys/a": large, "keys/b": []byte("x"), "keysakin": []byte("y"), "packs/keys/c": []byte("z")} {
		if err := st.PutNew(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Link(filepath.Join(dir, "keys", "a"), link); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, ".tmp", "0123") // of a writer that died
	if err := os.WriteFile(left, large, 0o600); err != nil {
		t.Fatal(err)
	}
	removed, err := st.Purge(t.Context(), "keys/")
	if err != nil || removed != 2 {
		t.Fatalf("removed %d: %v", removed, err)
	}
	if data, err := os.ReadFile(link); err != nil || len(data) != len(large) || bytes.Contains(data, []byte("s")) {
		t.Errorf("the file's bytes are still there: %v", err)
	}
	if n := temps(t, dir); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
	for _, name := range []string{"keysakin", "packs/keys/c"} {
		if _, err := st.Stat(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if removed, err := st.Purge(t.Context(), "keys/"); err != nil || removed != 0 {
		t.Errorf("again: %d, %v", removed, err)
	}
}
