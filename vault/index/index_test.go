package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/vault/chunk"
	"holdfast/vault/keys"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

const maxChunk = 4096

// contents makes packs of so many chunks with random ids.
func contents(r *rand.Rand, packs, chunks int) []Contents {
	var all []Contents
	for range packs {
		c := Contents{Info: pack.NewInfo("s1", pack.Data, 1)}
		off := uint32(seal.HeaderSize)
		for i := range chunks {
			e := pack.Entry{Codec: chunk.Raw, Ordinal: uint32(i), Offset: off, Sealed: 116, Plain: 100}
			for j := 0; j < 32; j += 8 {
				binary.LittleEndian.PutUint64(e.ID[j:], r.Uint64())
			}
			off += e.Sealed
			c.Entries = append(c.Entries, e)
		}
		c.Info.Size, c.Info.Count = off+100, uint32(chunks)
		all = append(all, c)
	}
	return all
}

func TestSegment(t *testing.T) {
	ring, r := keys.NewRing(), rand.New(rand.NewPCG(1, 1))
	for _, shape := range [][2]int{{0, 0}, {1, 1}, {1, 256}, {1, 257}, {300, 3}} {
		all := contents(r, shape[0], shape[1])
		data, err := Encode(ring, seal.NewHeader(seal.Index, 1), "index/s/x", NewPart(all))
		if err != nil {
			t.Fatal(err)
		}
		part, err := Decode(ring, "index/s/x", data, maxChunk)
		if err != nil {
			t.Fatalf("%v: %v", shape, err)
		}
		set := NewSet(part)
		for _, c := range all {
			for _, e := range c.Entries {
				p, ok, err := set.Find(t.Context(), e.ID)
				if !ok || err != nil || p.Pack != c.Info || p.Entry != e {
					t.Fatalf("%v: found %+v, %v", shape, p, err)
				}
			}
		}
		if _, ok, err := set.Find(t.Context(), chunk.ID{1}); ok || err != nil {
			t.Errorf("an unknown chunk was found, or %v", err)
		}
		if _, err := Decode(ring, "index/s/y", data, maxChunk); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("under another name: %v", err)
		}
		for range 200 {
			bad := slices.Clone(data)
			at := r.IntN(len(bad))
			bad[at] ^= 1 << r.IntN(8)
			if _, err := Decode(ring, "index/s/x", bad, maxChunk); err == nil {
				t.Fatalf("%v: a flip at %d of %d was taken", shape, at, len(bad))
			}
			if _, err := Decode(ring, "index/s/x", data[:at], maxChunk); err == nil {
				t.Fatalf("%v: cut to %d bytes was taken", shape, at)
			}
		}
	}
}

// known is whether a set finds a chunk, and in which pack.
func known(t *testing.T, set *Set, id chunk.ID) (pack.Info, bool) {
	t.Helper()
	p, ok, err := set.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p.Pack, ok
}

// A pack that was excluded stays so, and another place of its chunks serves.
func TestSetExcludes(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var all []Contents
	set := NewSet()
	for range 40 {
		c := contents(r, 2, 10)
		all = append(all, c...)
		set = set.With(NewPart(c))
	}
	// One chunk in two packs: the second counts when the first is not usable.
	twice := contents(r, 1, 1)
	twice[0].Entries[0].ID = all[0].Entries[0].ID
	set = set.With(NewPart(twice))
	for _, c := range all {
		for _, e := range c.Entries {
			if _, ok := known(t, set, e.ID); !ok {
				t.Fatalf("%v is lost", e.ID)
			}
		}
	}
	without := set.Only(func(p pack.Info) bool { return p.ID != twice[0].Info.ID && p.ID != all[5].Info.ID })
	if info, ok := known(t, without, all[0].Entries[0].ID); !ok || info.ID != all[0].Info.ID {
		t.Errorf("the other place: %+v, %v", info, ok)
	}
	if _, ok := known(t, without, all[5].Entries[0].ID); ok {
		t.Error("a chunk of an unusable pack was found")
	}
	if _, ok := known(t, without.Only(func(pack.Info) bool { return true }).With(NewPart(nil)), all[5].Entries[0].ID); ok {
		t.Error("a pack became usable again")
	}
	n := 0
	for _, err := range set.All(t.Context(), all[0].Entries[0].ID) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d places of a chunk in two packs", n)
	}
}

// A million entries stay near their 52 bytes each.
func TestEntrySize(t *testing.T) {
	if s := fmt.Sprintf("%d", binary.Size(Entry{})); s != fmt.Sprint(entrySize) {
		t.Errorf("an entry has %s bytes", s)
	}
	if n := len(appendPack(nil, pack.NewInfo("s", pack.Data, 1))); n != packSize {
		t.Errorf("a pack record has %d bytes", n)
	}
}

// Whoever can write to the storage chooses a segment's bytes.
func FuzzDecode(f *testing.F) {
	ring := keys.NewRing()
	good, err := Encode(ring, seal.NewHeader(seal.Index, 1), "index/s/x", NewPart(contents(rand.New(rand.NewPCG(3, 3)), 2, 3)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:60])
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(ring, "index/s/x", data, maxChunk)
		if err == nil && len(p.Entries) != 6 {
			t.Errorf("forged segment of %d entries", len(p.Entries))
		}
	})
}

// A holder of the data key could seal any records.
func FuzzRecords(f *testing.F) {
	all := contents(rand.New(rand.NewPCG(4, 4)), 1, 2)
	part := NewPart(all)
	f.Add(part.Entries[1].append(part.Entries[0].append(nil)), appendPack(nil, all[0].Info))
	f.Add(make([]byte, entrySize), make([]byte, packSize))
	f.Fuzz(func(t *testing.T, entries, packs []byte) {
		p := &Part{}
		for ; len(packs) >= packSize; packs = packs[packSize:] {
			info, err := decodePack(packs)
			if err != nil {
				return
			}
			if string(appendPack(nil, info)) != string(packs[:packSize]) && packs[66] == 0 && packs[67] == 0 && allZero(packs[1+len(info.Session):65]) {
				t.Error("a pack record does not write as it was read")
			}
			p.Packs = append(p.Packs, info)
		}
		for ; len(entries) >= entrySize; entries = entries[entrySize:] {
			p.Entries = append(p.Entries, decodeEntry(entries))
		}
		if p.check(maxChunk) != nil {
			return
		}
		set := NewSet(p)
		for _, e := range p.Entries {
			got, ok, err := set.Find(t.Context(), e.ID)
			if !ok || err != nil || int64(got.Entry.Offset)+int64(got.Entry.Sealed) > int64(got.Pack.Size) || got.Entry.Plain > maxChunk {
				t.Fatalf("entry %+v, %v", got, err)
			}
		}
	})
}

func allZero(p []byte) bool {
	return !slices.ContainsFunc(p, func(b byte) bool { return b != 0 })
}

func BenchmarkFind(b *testing.B) {
	all := contents(rand.New(rand.NewPCG(5, 5)), 1000, 1000)
	set := NewSet(NewPart(all))
	r := rand.New(rand.NewPCG(6, 6))
	for b.Loop() {
		c := all[r.IntN(len(all))]
		if _, ok, err := set.Find(b.Context(), c.Entries[r.IntN(len(c.Entries))].ID); !ok || err != nil {
			b.Fatal("lost")
		}
	}
}
