package pack

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"holdfast/vault/blob"
	"holdfast/vault/blob/mem"
	"holdfast/vault/chunk"
	"holdfast/vault/keys"
	"holdfast/vault/seal"
)

const maxChunk = 4096

func build(t testing.TB, ring keys.Ring, n int) (Info, []Entry, []byte) {
	t.Helper()
	b, err := NewBuilder(ring, NewInfo("s1", Data, 1), make([]byte, 0, 64<<10))
	if err != nil {
		t.Fatal(err)
	}
	h := chunk.NewHasher(ring)
	var wg sync.WaitGroup
	for i := range n {
		p := bytes.Repeat([]byte{byte(i + 1)}, 100+i)
		if !b.Room(len(p)) {
			t.Fatalf("no room for chunk %d", i)
		}
		slot := b.Reserve(chunk.Data, h.Sum(chunk.Data, p), chunk.Raw, len(p), len(p))
		wg.Go(func() { slot.Put(p) })
	}
	wg.Wait()
	return b.Finish()
}

func TestPack(t *testing.T) {
	ring, st := keys.NewRing(), mem.New()
	info, entries, data := build(t, ring, 50)
	if err := st.PutNew(t.Context(), info.Name(), data); err != nil {
		t.Fatal(err)
	}
	got, toc, err := ReadTOC(t.Context(), st, ring, info.Name(), int64(len(data)), maxChunk)
	if err != nil || got != info || fmt.Sprint(toc) != fmt.Sprint(entries) {
		t.Fatalf("table of contents: %+v, %v", got, err)
	}
	if got, toc, err = ParseTOC(ring, info.Name(), data, maxChunk); err != nil || got != info || len(toc) != 50 {
		t.Fatalf("from memory: %+v, %v", got, err)
	}
	box, err := seal.NewBox(ring, info.Header())
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range toc {
		plain, err := box.Open(nil, data[e.Offset:e.Offset+e.Sealed], e.Frame())
		if err != nil || !bytes.Equal(plain, bytes.Repeat([]byte{byte(i + 1)}, 100+i)) {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	if _, _, err := ReadTOC(t.Context(), st, ring, info.Name(), int64(len(data))-1, maxChunk); err == nil {
		t.Error("a wrong size was taken")
	}
	if _, _, err := ParseTOC(ring, info.Name(), data, 120); !errors.Is(err, ErrMalformed) {
		t.Errorf("chunks above the bound: %v", err)
	}
	other := info
	other.ID[0] ^= 1
	if _, _, err := ParseTOC(ring, other.Name(), data, maxChunk); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("under another name: %v", err)
	}
}

func TestNoTwoPacksShareASalt(t *testing.T) {
	seen := map[[32]byte]bool{}
	for range 100 {
		p := NewInfo("s", Meta, 1)
		if seen[p.Salt] || p.Salt == ([32]byte{}) {
			t.Fatal("a salt came twice")
		}
		seen[p.Salt] = true
	}
}

func TestRoomIsTheLimit(t *testing.T) {
	ring := keys.NewRing()
	b, err := NewBuilder(ring, NewInfo("s1", Data, 1), make([]byte, 0, 10_000))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; b.Room(1000); n++ {
		b.Reserve(chunk.Data, chunk.ID{byte(n), 1}, chunk.Raw, 1000, 1000).Put(make([]byte, 1000))
	}
	_, _, data := b.Finish()
	if n != 9 || len(data) > 10_000 {
		t.Errorf("%d chunks, %d bytes", n, len(data))
	}
}

func TestNames(t *testing.T) {
	p := NewInfo("op-1.2_x", Meta, 1)
	got, err := ParseName(p.Name())
	if err != nil || got.Session != p.Session || got.Class != Meta || got.ID != p.ID {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := blob.CheckName(p.Name()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "packs/", "packs/s", "packs/s/d", "packs//" + p.Name()[len(p.Name())-33:], "index" + p.Name()[5:], p.Name() + "0", "packs/s/x" + p.Name()[len(p.Name())-32:], "packs/s/dZZ" + p.Name()[len(p.Name())-30:]} {
		if _, err := ParseName(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Whoever can write to the storage chooses a pack's bytes.
func FuzzParseTOC(f *testing.F) {
	ring := keys.NewRing()
	info, _, data := build(f, ring, 3)
	f.Add(data)
	f.Add(data[:len(data)-5])
	f.Add(data[:seal.HeaderSize])
	f.Fuzz(func(t *testing.T, in []byte) {
		_, entries, err := ParseTOC(ring, info.Name(), in, maxChunk)
		if err == nil && len(entries) != 3 {
			t.Errorf("forged table of %d entries", len(entries))
		}
	})
}

// A holder of the data key could seal any table of contents.
func FuzzDecodeTOC(f *testing.F) {
	f.Add(make([]byte, entrySize), int64(100))
	good := make([]byte, entrySize)
	good[36], good[40] = 26, 10
	f.Add(good, int64(seal.HeaderSize+26))
	f.Fuzz(func(t *testing.T, toc []byte, end int64) {
		entries, err := decodeTOC(toc, end, maxChunk)
		if err != nil {
			return
		}
		at := int64(seal.HeaderSize)
		for _, e := range entries {
			if int64(e.Offset) != at || !e.Valid(maxChunk) {
				t.Fatalf("entry %+v at %d", e, at)
			}
			at += int64(e.Sealed)
		}
		if at != end {
			t.Errorf("entries end at %d of %d", at, end)
		}
	})
}

// A listing's names come from the storage.
func FuzzParseName(f *testing.F) {
	f.Add(NewInfo("op-1", Data, 1).Name())
	f.Add("packs/s/d0000000000000000000000000000000G")
	f.Add("packs/../d00000000000000000000000000000000")
	f.Fuzz(func(t *testing.T, name string) {
		info, err := ParseName(name)
		if err == nil && (info.Name() != name || strings.Contains(info.Session, "/")) {
			t.Errorf("%q was taken for %q", name, info.Name())
		}
	})
}
