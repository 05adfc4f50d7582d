package vault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/mem"
	"holdfast/vault/keys"
)

func openCached(t *testing.T, st blob.Storage, ring keys.Ring, dir string) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), st, ring, vault.WithIndexCache(dir))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A writer with a warm cache finds what the vault has, and asks the storage for
// nothing of the index.
func TestCachedIndexDeduplicates(t *testing.T) {
	st, dir := &indexReads{Storage: mem.New()}, t.TempDir()
	_, o := initVault(t, st)
	disk := noisy(90, 600)
	mustBackup(t, openCached(t, st, o.ring, dir), "b1", disk, "", whole(disk))
	st.n.Store(0)
	again := openCached(t, st, o.ring, dir)
	if m := mustBackup(t, again, "b2", disk, "", whole(disk)); m.Stats.UploadedBytes > 4<<10 {
		t.Errorf("%d bytes were uploaded again", m.Stats.UploadedBytes)
	}
	mustRestore(t, again, "b1", disk)
	if n := st.n.Load(); n != 0 {
		t.Errorf("%d reads of the index in the storage", n)
	}
}

// Whatever happens to the files of a cache, beside backups, deletions and
// collections, every backup is right, and the directory keeps no segment that is gone.
func TestCachedIndexDamagedAtRandom(t *testing.T) {
	st, dir := mem.New(), t.TempDir()
	v, o := initVault(t, st)
	r := newRand(91)
	disk, model := noisy(92, 150), map[string][]byte{}
	for round := range 40 {
		if r.IntN(3) == 0 {
			v = openCached(t, st, o.ring, dir)
		}
		fill(r, disk[r.IntN(len(disk)/2):][:30*testChunk])
		id := fmt.Sprintf("b%d", round)
		mustBackup(t, v, id, disk, "", whole(disk))
		model[id] = clone(disk)
		hurtCache(t, dir, func(data []byte) []byte {
			switch r.IntN(6) {
			case 0:
				return nil
			case 1:
				return data[:r.IntN(len(data))]
			case 2:
				data[r.IntN(len(data))] ^= 1 << r.IntN(8)
			case 3:
				clear(data[r.IntN(len(data)):])
			}
			return data
		})
		for other := range model {
			if r.IntN(4) == 0 {
				if err := v.DeleteBackup(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				delete(model, other)
			}
		}
		if r.IntN(4) == 0 {
			collectAll(t, v, atOnce)
		}
		for other, want := range model {
			mustRestore(t, v, other, want)
		}
	}
	collectAll(t, v, atOnce)
	if _, err := openCached(t, st, o.ring, dir).OpenImage(t.Context(), vault.Image{Name: "none"}); err != nil {
		t.Fatal(err)
	}
	if left, segments := cacheFiles(t, dir), len(packsOf(t, st, "index/")); len(left) > segments {
		t.Errorf("%d copies of %d segments", len(left), segments)
	}
}

func cacheFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func hurtCache(t *testing.T, dir string, change func([]byte) []byte) {
	t.Helper()
	for _, name := range cacheFiles(t, dir) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if data = change(data); data == nil {
			err = os.Remove(name)
		} else {
			err = os.WriteFile(name, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
