package vault_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/local"
	"holdfast/vault/blob/mem"
	"holdfast/vault/keys"
)

func TestFullAndIncremental(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) blob.Storage{
		"mem": func(*testing.T) blob.Storage { return mem.New() },
		"local": func(t *testing.T) blob.Storage {
			st, err := local.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return st
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := open(t)
			v, o := initVault(t, st)
			r := newRand(1)
			disk := randomDisk(r, 3<<20+1234) // several levels, several packs, an odd tail
			m1 := mustBackup(t, v, "b1", disk, "", whole(disk))
			second := clone(disk)
			fill(r, second[5000:9000])
			clear(second[1<<20 : 1<<20+300000])
			m2 := mustBackup(t, v, "b2", second, "b1", ranges(
				vault.Range{Offset: 5000, Length: 4000}, vault.Range{Offset: 1 << 20, Length: 300000, Zero: true}))
			if m2.Stats.ReadBytes > 5*testChunk {
				t.Errorf("incremental read %d bytes", m2.Stats.ReadBytes)
			}
			if m2.Stats.UploadedBytes > m1.Stats.UploadedBytes/4 {
				t.Errorf("incremental uploaded %d bytes", m2.Stats.UploadedBytes)
			}
			again, err := vault.Open(t.Context(), st, o.ring)
			if err != nil {
				t.Fatal(err)
			}
			mustRestore(t, again, "b1", disk)
			mustRestore(t, again, "b2", second)
			if m2.Images[0].Point != "b2" || m2.Images[0].Chunks == 0 {
				t.Errorf("image %+v", m2.Images[0])
			}
		})
	}
}

func TestRandomReadsAndExtents(t *testing.T) {
	v, _ := initVault(t, mem.New())
	r := newRand(2)
	disk := randomDisk(r, 2<<20+77)
	m := mustBackup(t, v, "b1", disk, "", whole(disk))
	im, err := v.OpenImage(t.Context(), m.Images[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		off := r.Int64N(int64(len(disk)))
		p := make([]byte, r.IntN(3*testChunk))
		n, err := im.ReadAt(p, off)
		want := disk[off:min(off+int64(len(p)), int64(len(disk)))]
		if n != len(want) || !bytes.Equal(p[:n], want) || (n < len(p)) != errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
		}
	}
	covered := make([]byte, len(disk))
	last := int64(-1)
	for x, err := range im.Extents(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if x.Offset <= last || x.Length <= 0 {
			t.Fatalf("extent %+v after %d", x, last)
		}
		last = x.Offset + x.Length
		copy(covered[x.Offset:last], disk[x.Offset:last])
	}
	if !bytes.Equal(covered, disk) {
		t.Error("there is data outside the extents")
	}
}

// TestSame: a chunk is told from others without being read.
func TestSame(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := randomDisk(newRand(4), 40*testChunk+77)
	clear(disk[3*testChunk : 4*testChunk])
	m := mustBackup(t, v, "b1", disk, "", whole(disk))
	faulty := fault.New(st)
	again, err := vault.Open(t.Context(), faulty, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	im, err := again.OpenImage(t.Context(), m.Images[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(41) {
		at := int(i) * testChunk
		p := bytes.Clone(disk[at:min(at+testChunk, len(disk))])
		if same, err := im.Same(i, p); err != nil || !same {
			t.Errorf("chunk %d: %v, %v", i, same, err)
		}
		p[len(p)-1] ^= 1
		if same, err := im.Same(i, p); err != nil || same {
			t.Errorf("chunk %d, changed: %v, %v", i, same, err)
		}
		zeros := !bytes.ContainsFunc(disk[at:at+len(p)], func(r rune) bool { return r != 0 })
		clear(p)
		if same, err := im.Same(i, p); err != nil || same != zeros {
			t.Errorf("chunk %d, zeros: %v, %v", i, same, err)
		}
	}
	if calls := len(faulty.Calls()); calls > 20 {
		t.Errorf("%d calls: chunks are read, not only nodes", calls)
	}
	for i, p := range map[uint64][]byte{40: disk[:testChunk], 41: disk[:77], 0: disk[:77]} {
		if _, err := im.Same(i, p); !errors.Is(err, vault.ErrRanges) {
			t.Errorf("%d bytes as chunk %d: %v", len(p), i, err)
		}
	}
}

func TestGrowAndShrink(t *testing.T) {
	v, _ := initVault(t, mem.New())
	r := newRand(3)
	// Across tree heights (256 chunks a leaf) and with odd tails.
	sizes := []int{100 * testChunk, 100*testChunk + 5, 1000*testChunk + 9, 1001 * testChunk, 256 * testChunk, 257*testChunk - 1, 3 * testChunk, 7}
	disk := randomDisk(r, sizes[0])
	mustBackup(t, v, "b0", disk, "", whole(disk))
	for i, size := range sizes[1:] {
		next := make([]byte, size)
		copy(next, disk)
		var changed []vault.Range
		if size > len(disk) {
			at := int64(size - min(size-len(disk), 3*testChunk))
			fill(r, next[at:])
			changed = append(changed, vault.Range{Offset: at, Length: int64(size) - at})
		}
		id, parent := "b"+string(rune('1'+i)), "b"+string(rune('0'+i))
		mustBackup(t, v, id, next, parent, ranges(changed...))
		mustRestore(t, v, id, next)
		disk = next
	}
}

func TestOpenWithMasterAndKit(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := randomDisk(newRand(4), 1<<20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	text, err := keys.Kit{Account: "acc-1", Key: o.account, Vaults: []string{"/srv/vaults/acc-1"}}.Text()
	if err != nil {
		t.Fatal(err)
	}
	kit, err := keys.ParseKit(text)
	if err != nil {
		t.Fatal(err)
	}
	byKit, err := vault.OpenWithKit(t.Context(), st, kit)
	if err != nil {
		t.Fatal(err)
	}
	mustRestore(t, byKit, "b1", disk)
	byMaster, err := vault.OpenWithMaster(t.Context(), st, o.master)
	if err != nil {
		t.Fatal(err)
	}
	mustRestore(t, byMaster, "b1", disk)

	kit.Key = keys.NewAccountKey()
	if _, err := vault.OpenWithKit(t.Context(), st, kit); !errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("another account's kit: %v", err)
	}
	if _, err := vault.OpenWithMaster(t.Context(), st, keys.NewMasterKey()); !errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("another master key: %v", err)
	}
	if _, err := vault.Open(t.Context(), st, keys.NewRing()); !errors.Is(err, vault.ErrFormat) {
		t.Errorf("another ring: %v", err)
	}
	if _, err := vault.Open(t.Context(), mem.New(), o.ring); !errors.Is(err, vault.ErrNoVault) {
		t.Errorf("empty storage: %v", err)
	}
}
