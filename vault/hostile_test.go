package vault_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
)

// tiny makes a vault of few bytes, with a compressed, a zero and a raw chunk.
func tiny(t *testing.T) (*mem.Storage, owner, []byte) {
	t.Helper()
	st := mem.New()
	v, o := initVault(t, st)
	disk := make([]byte, 2*testChunk+60)
	copy(disk, bytes.Repeat([]byte("text "), testChunk/5))
	r := newRand(30)
	for i := 2 * testChunk; i < len(disk); i++ {
		disk[i] = byte(r.Uint32())
	}
	mustBackup(t, v, "b1", disk, "", whole(disk))
	return st, o, disk
}

func blobsOf(t *testing.T, st *mem.Storage) (names []string, sizes map[string]int64) {
	t.Helper()
	sizes = map[string]int64{}
	for info, err := range st.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
		sizes[info.Name] = info.Size
	}
	return names, sizes
}

// readAll opens the tampered vault in every way and restores; it reports whether
// the bytes came, and fails if they are wrong.
func readAll(t *testing.T, st *mem.Storage, o owner, disk []byte, what string, at int) bool {
	t.Helper()
	v, err := vault.OpenWithMaster(t.Context(), st, o.master)
	if err != nil {
		return false
	}
	got, err := restore(t.Context(), v, "b1")
	if err == nil && !bytes.Equal(got, disk) {
		t.Fatalf("%s at %d: wrong bytes were restored", what, at)
	}
	return err == nil
}

// Whoever can write to the storage can change any byte of it: an error, or the
// right bytes, never others.
func TestEveryByteFlipped(t *testing.T) {
	st, o, disk := tiny(t)
	names, sizes := blobsOf(t, st)
	refused, total := 0, 0
	for _, name := range names {
		for at := range sizes[name] {
			c := st.Clone()
			c.Tamper(name, func(p []byte) []byte { p[at] ^= 1 << (at % 8); return p })
			total++
			if !readAll(t, c, o, disk, "flip in "+name, int(at)) {
				refused++
			}
		}
	}
	// What no restore needs (marks, tables that the other makes up for) is the rest.
	if refused < total/2 {
		t.Errorf("%d of %d flips were refused", refused, total)
	}
}

func TestEveryBlobTruncatedOrGrown(t *testing.T) {
	st, o, disk := tiny(t)
	names, sizes := blobsOf(t, st)
	for _, name := range names {
		for n := int64(0); n < sizes[name]; n += 1 + sizes[name]/150 {
			c := st.Clone()
			c.Tamper(name, func(p []byte) []byte { return p[:n] })
			readAll(t, c, o, disk, "truncated "+name, int(n))
		}
		c := st.Clone()
		c.Tamper(name, func(p []byte) []byte { return append(p, make([]byte, 100)...) })
		readAll(t, c, o, disk, "grown "+name, 100)
		c = st.Clone()
		c.Tamper(name, func([]byte) []byte { return nil })
		readAll(t, c, o, disk, "removed "+name, 0)
	}
}

// Blobs in each other's places are refused: every one is bound to its name.
func TestBlobsSwapped(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	r := newRand(31)
	first, second := randomDisk(r, 100<<10), randomDisk(r, 100<<10)
	mustBackup(t, v, "b1", first, "", whole(first))
	mustBackup(t, v, "b2", second, "", whole(second))
	names, _ := blobsOf(t, st)
	for _, a := range names {
		for _, b := range names {
			c := st.Clone()
			data, err := st.Get(t.Context(), b, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			c.Tamper(a, func([]byte) []byte { return data })
			readAll(t, c, o, first, a+" replaced by "+b, 0)
		}
	}
	c := st.Clone()
	data, err := st.Get(t.Context(), "backups/b2", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	c.Tamper("backups/b1", func([]byte) []byte { return data })
	if readAll(t, c, o, second, "manifest swapped", 0) {
		t.Error("another backup's manifest was taken")
	}
}

// Two accounts with the same disk share not one id, blob or sealed byte run.
func TestAccountsAreUnlinkable(t *testing.T) {
	disk := randomDisk(newRand(32), 200<<10)
	var runs []map[string]bool
	for range 2 {
		st := mem.New()
		v, _ := initVault(t, st)
		mustBackup(t, v, "b1", disk, "", whole(disk))
		seen := map[string]bool{}
		names, _ := blobsOf(t, st)
		for _, name := range names {
			if strings.HasPrefix(name, "keys/") || name == "vault.json" {
				continue
			}
			data, err := st.Get(t.Context(), name, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for i := 48; i+16 <= len(data)-24; i++ { // between clear header and trailer
				seen[string(data[i:i+16])] = true
			}
		}
		runs = append(runs, seen)
	}
	for run := range runs[0] {
		if runs[1][run] {
			t.Fatalf("both vaults hold the bytes %x", run)
		}
	}
}

// The names under which a hostile storage may list things are not followed.
func TestForeignBlobs(t *testing.T) {
	st, o, disk := tiny(t)
	for _, name := range []string{"packs/x", "packs/s-b1/zz", "packs/s-b1/d00", "index/y", "index/s-b1/00", "backups/zzz", "tombstones/other", "sessions/q"} {
		if err := st.PutNew(t.Context(), name, []byte("foreign")); err != nil {
			t.Fatal(err)
		}
	}
	if !readAll(t, st, o, disk, "foreign blobs", 0) {
		t.Error("foreign blobs keep the vault from being read")
	}
	v, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	mustBackup(t, v, "b2", disk, "b1", ranges())
}

// Opening blobs of a hostile size allocates nothing like it.
func TestHugeBlobsAreNotLoaded(t *testing.T) {
	st, o, disk := tiny(t)
	for _, name := range []string{"vault.json", "keys/ring-00000001", "backups/b1"} {
		c := st.Clone()
		c.Tamper(name, func([]byte) []byte { return make([]byte, 100<<20) })
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if readAll(t, c, o, disk, "huge "+name, 0) {
			t.Errorf("%s of 100 MiB was taken", name)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 50<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}
