package vault_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
)

// noisy is a disk without equal or zero chunks.
func noisy(seed uint64, chunks int) []byte {
	disk := make([]byte, chunks*testChunk)
	r := newRand(seed)
	for i := range disk {
		disk[i] = byte(r.Uint32())
	}
	return disk
}

func packsOf(t *testing.T, st *mem.Storage, prefix string) (names []string) {
	t.Helper()
	for info, err := range st.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	if len(names) == 0 {
		t.Fatalf("no blobs below %s", prefix)
	}
	return names
}

// A restore names exactly what is lost, and with the caller's consent writes all the rest.
func TestPartialRestore(t *testing.T) {
	st := mem.New()
	v, _ := initVault(t, st)
	disk := noisy(40, 700)
	m := mustBackup(t, v, "b1", disk, "", whole(disk))
	packs := packsOf(t, st, "packs/s-b1/d")
	st.Tamper(packs[0], func([]byte) []byte { return nil })                            // a pack gone
	st.Tamper(packs[1], func(p []byte) []byte { p[48+testChunk+16+9] ^= 1; return p }) // its second chunk damaged
	im, err := v.OpenImage(t.Context(), m.Images[0])
	if err != nil {
		t.Fatal(err)
	}
	var damaged *vault.DamagedError
	if err := im.Restore(t.Context(), newMemDisk(im.Size()), vault.RestoreOptions{}); !errors.As(err, &damaged) || damaged.Image != "disk0" {
		t.Fatalf("restore: %v", err)
	}
	out := newMemDisk(im.Size())
	lost := map[int64]bool{}
	err = im.Restore(t.Context(), out, vault.RestoreOptions{Damaged: func(d *vault.DamagedError) error {
		for off := d.Offset; off < d.Offset+d.Length; off += testChunk {
			lost[off] = true
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(lost) < 3 || len(lost) > 20 {
		t.Errorf("%d chunks lost", len(lost))
	}
	for off := int64(0); off < im.Size(); off += testChunk {
		want := disk[off : off+testChunk]
		if lost[off] {
			want = make([]byte, testChunk)
		}
		if !bytes.Equal(out.data[off:off+testChunk], want) {
			t.Fatalf("chunk at %d (lost: %v) is wrong", off, lost[off])
		}
		p := make([]byte, 100)
		_, err := im.ReadAt(p, off+50)
		if errors.As(err, &damaged) != lost[off] || err == nil && !bytes.Equal(p, disk[off+50:off+150]) {
			t.Fatalf("read at %d (lost: %v): %v", off, lost[off], err)
		}
	}
}

// What a later session finds gone, it stores again: the damage does not spread.
func TestLostPackIsStoredAgain(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(41, 100)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	packs := packsOf(t, st, "packs/s-b1/d")
	st.Tamper(packs[0], func([]byte) []byte { return nil })
	st.Tamper(packs[1], func(p []byte) []byte { return p[:len(p)/2] })
	mustBackup(t, v, "b2", disk, "", whole(disk))
	again, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	mustRestore(t, again, "b2", disk)
	mustRestore(t, again, "b1", disk) // the same chunks
}

// An incremental on a parent whose tree is damaged says so, and a full read in
// the same session heals.
func TestDamagedParent(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(42, 300)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	for _, name := range packsOf(t, st, "packs/s-b1/m") {
		st.Tamper(name, func(p []byte) []byte { p[100] ^= 1; return p })
	}
	v, err := vault.Open(t.Context(), st, o.ring) // without the first one's memory
	if err != nil {
		t.Fatal(err)
	}
	_, err = backup(t.Context(), v, "b2", disk, "b1", ranges(vault.Range{Length: 10}))
	var damaged *vault.DamagedError
	if !errors.As(err, &damaged) || !strings.Contains(damaged.Image, "b1") {
		t.Fatalf("incremental: %v", err)
	}
	if _, err := v.Manifest(t.Context(), "b2"); !errors.Is(err, vault.ErrNoBackup) {
		t.Errorf("b2: %v", err)
	}
}

// A restore that was interrupted goes on from its last checkpoint.
func TestRestoreResumes(t *testing.T) {
	v, _ := initVault(t, mem.New())
	disk := noisy(43, 500)
	copy(disk[100*testChunk:], make([]byte, 50*testChunk))
	m := mustBackup(t, v, "b1", disk, "", whole(disk))
	im, err := v.OpenImage(t.Context(), m.Images[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{0, 1, testChunk, 120*testChunk + 5, int64(len(disk)) - 1, int64(len(disk)), int64(len(disk)) + 9} {
		out := newMemDisk(im.Size())
		first := min(from, im.Size()) / testChunk * testChunk
		copy(out.data[:first], disk)
		var done, total int64
		err := im.Restore(t.Context(), out, vault.RestoreOptions{From: from, Progress: func(d, n int64) { done, total = d, n }})
		if err != nil || done != total {
			t.Fatalf("from %d: %d of %d, %v", from, done, total, err)
		}
		if from < im.Size() && !bytes.Equal(out.data, disk) {
			t.Errorf("from %d: wrong bytes at %d", from, firstDiff(out.data, disk))
		}
	}
	if err := im.Restore(t.Context(), newMemDisk(im.Size()), vault.RestoreOptions{From: -1}); err == nil {
		t.Error("a negative offset was taken")
	}
	boom := errors.New("boom")
	if err := im.Restore(t.Context(), failingWriter{boom}, vault.RestoreOptions{}); !errors.Is(err, boom) {
		t.Errorf("a failing target: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) WriteAt([]byte, int64) (int, error) { return 0, w.err }

// Ranges come from hypervisors: what is not ascending within the disk is refused.
func TestBadRanges(t *testing.T) {
	v, _ := initVault(t, mem.New())
	disk := noisy(44, 10)
	for _, rs := range [][]vault.Range{
		{{Offset: 5000, Length: 1}, {Offset: 4999, Length: 1}}, {{Offset: -1, Length: 5}}, {{Length: -1}},
		{{Length: int64(len(disk)) + 1}}, {{Offset: int64(len(disk)) + 1}}, {{Offset: 1, Length: 1<<63 - 1}},
		{{Length: 9000, Zero: true}, {Offset: 8999, Length: 1}}, {{Length: 9000}, {Offset: 8999, Length: 1, Zero: true}},
	} {
		if _, err := backup(t.Context(), v, "b1", disk, "", ranges(rs...)); !errors.Is(err, vault.ErrRanges) {
			t.Errorf("%+v: %v", rs, err)
		}
	}
	failing := func(yield func(vault.Range, error) bool) { yield(vault.Range{}, errInjected) }
	if _, err := backup(t.Context(), v, "b1", disk, "", failing); !errors.Is(err, errInjected) {
		t.Errorf("failing ranges: %v", err)
	}
}

// Each chunk is read once however the ranges overlap and touch.
func TestOverlappingRanges(t *testing.T) {
	v, _ := initVault(t, mem.New())
	disk := noisy(45, 20)
	rs := []vault.Range{{Offset: 10, Length: 5}, {Offset: 10, Length: 9000}, {Offset: 4096, Length: 1}, {Offset: 9000, Length: int64(len(disk)) - 9000}, {Offset: 70000, Length: 3}}
	m := mustBackup(t, v, "b1", disk, "", ranges(rs...))
	if m.Stats.ReadBytes != int64(len(disk)) {
		t.Errorf("read %d of %d bytes", m.Stats.ReadBytes, len(disk))
	}
	mustRestore(t, v, "b1", disk)
}
