package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"holdfast/vault/chunk"
	"holdfast/vault/keys"
	"holdfast/vault/seal"
)

// remote is a stored segment that counts what is read of it.
type remote struct {
	ring  keys.Ring
	data  []byte
	reads atomic.Int64
	bytes atomic.Int64
	fail  error
}

func newRemote(t testing.TB, part *Part) *remote {
	t.Helper()
	r := &remote{ring: keys.NewRing()}
	data, err := Encode(r.ring, seal.NewHeader(seal.Index, 1), "index/s/x", part)
	if err != nil {
		t.Fatal(err)
	}
	r.data = data
	return r
}

func (r *remote) source(c *Cache) Source {
	return Source{Keys: r.ring, Name: "index/s/x", Size: int64(len(r.data)), MaxPlain: maxChunk, Blocks: NewBlocks(1 << 20), Cache: c,
		Read: func(ctx context.Context, p []byte, off int64) error {
			if r.fail != nil {
				return r.fail
			}
			r.reads.Add(1)
			r.bytes.Add(int64(len(p)))
			return inMemory(r.data)(ctx, p, off)
		}}
}

// A lookup reads one block of entries and one of packs, and again nothing.
func TestSegmentReadsBlocks(t *testing.T) {
	all := contents(rand.New(rand.NewPCG(7, 7)), 300, 100)
	r := newRemote(t, NewPart(all))
	s, err := Open(t.Context(), r.source(nil))
	if err != nil {
		t.Fatal(err)
	}
	if n := r.reads.Load(); n != 2 {
		t.Errorf("opened by %d reads", n)
	}
	before := r.bytes.Load()
	want := all[299].Entries[7]
	for range 2 {
		p, ok, err := NewSet(s).Find(t.Context(), want.ID)
		if err != nil || !ok || p.Pack != all[299].Info || p.Entry != want || !p.Far {
			t.Fatalf("%+v, %v, %v", p, ok, err)
		}
	}
	if n, most := r.bytes.Load()-before, int64(perBlock*(entrySize+packSize)+2*seal.Overhead); n > most {
		t.Errorf("a lookup read %d bytes, more than %d", n, most)
	}
}

// Chunks whose ids begin alike, across the borders of blocks.
func TestSegmentPrefixesAcrossBlocks(t *testing.T) {
	all := contents(rand.New(rand.NewPCG(8, 8)), 1, 4*perBlock)
	for i := range all[0].Entries {
		e := &all[0].Entries[i]
		binary.BigEndian.PutUint64(e.ID[:], uint64(i/700)) // three runs
	}
	s, err := Open(t.Context(), newRemote(t, NewPart(all)).source(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all[0].Entries {
		if p, ok, err := NewSet(s).Find(t.Context(), e.ID); err != nil || !ok || p.Entry != e {
			t.Fatalf("%v: %+v, %v, %v", e.ID, p, ok, err)
		}
	}
}

// A storage that fails for now is not a chunk that is missing, a chunk that
// another segment has is found all the same, and damage says where it is.
func TestSegmentErrors(t *testing.T) {
	all := contents(rand.New(rand.NewPCG(9, 9)), 1, 10)
	r := newRemote(t, NewPart(all))
	s, err := Open(t.Context(), r.source(nil))
	if err != nil {
		t.Fatal(err)
	}
	id, away := all[0].Entries[3].ID, errors.New("away")
	r.fail = away
	if _, ok, err := NewSet(s).Find(t.Context(), id); ok || !errors.Is(err, away) {
		t.Errorf("a storage that is away: %v, %v", ok, err)
	}
	if _, ok, err := NewSet(NewPart(all), s).Find(t.Context(), id); !ok || err != nil {
		t.Errorf("beside another that has it: %v, %v", ok, err)
	}
	r.fail = nil
	r.data[seal.HeaderSize+5] ^= 1
	_, _, err = NewSet(s).Find(t.Context(), id)
	bad, ok := errors.AsType[*SegmentError](err)
	if !ok || bad.Segment != s || !errors.Is(err, seal.ErrSealed) {
		t.Errorf("damage: %v", err)
	}
}

// A holder of the stolen keys seals what they like; lookups neither leave the
// blocks nor take what cannot be.
func TestForgedSegments(t *testing.T) {
	good := contents(rand.New(rand.NewPCG(10, 10)), 2, 300)
	for name, twist := range map[string]func(p *Part){
		"descending":       func(p *Part) { slices.Reverse(p.Entries) },
		"unknown pack":     func(p *Part) { p.Entries[0].Pack = 2 },
		"beyond its pack":  func(p *Part) { p.Entries[0].Offset = p.Packs[0].Size },
		"inside a header":  func(p *Part) { p.Entries[0].Offset = 3 },
		"too long":         func(p *Part) { p.Entries[0].Meta = maxChunk + 1 },
		"name not allowed": func(p *Part) { p.Packs[0].Session = "../x" },
	} {
		part := NewPart(good)
		twist(part)
		r := newRemote(t, part)
		s, err := Open(t.Context(), r.source(nil))
		if err == nil {
			_, err = s.places(t.Context(), &part.Entries[0].ID)
		}
		if _, whole := Decode(r.ring, "index/s/x", r.data, maxChunk); err == nil && name != "name not allowed" || whole == nil {
			t.Errorf("%s: %v, whole: %v", name, err, whole)
		}
	}
}

// Counts that no blob of this size can have cost nothing.
func TestHostileTrailer(t *testing.T) {
	r := newRemote(t, NewPart(contents(rand.New(rand.NewPCG(11, 11)), 1, 5)))
	for _, n := range []uint32{0, 1, 6, maxEntries, maxEntries + 1, 1<<32 - 1} {
		for at := range 2 {
			src := r.source(nil)
			data := slices.Clone(r.data)
			binary.LittleEndian.PutUint32(data[len(data)-trailerSize+4*at:], n)
			if at == 1 && n == 1 {
				continue // the truth
			}
			src.Read = inMemory(data)
			if _, err := Open(t.Context(), src); err == nil {
				t.Errorf("count %d set to %d was taken", at, n)
			}
		}
	}
	for _, size := range []int64{-1, 0, 80, MaxSegment + 1, 1 << 62} {
		src := r.source(nil)
		src.Size = size
		if _, err := Open(t.Context(), src); !errors.Is(err, ErrMalformed) {
			t.Errorf("a size of %d: %v", size, err)
		}
	}
	src := r.source(nil)
	src.Size = MaxSegment // the storage says so, and has no such bytes
	if _, err := Open(t.Context(), src); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a size beyond the blob: %v", err)
	}
}

// Whoever can write to the storage, or to the cache directory, chooses the bytes
// that a lookup meets.
func FuzzLookup(f *testing.F) {
	all := contents(rand.New(rand.NewPCG(12, 12)), 2, 300)
	r := newRemote(f, NewPart(all))
	f.Add(100, byte(1), 5)
	f.Add(len(r.data)-20, byte(255), 599)
	f.Fuzz(func(t *testing.T, at int, change byte, which int) {
		data := slices.Clone(r.data)
		data[uint(at)%uint(len(data))] ^= change
		e := all[uint(which)%2].Entries[uint(which)%300]
		src := r.source(nil)
		src.Read = inMemory(data)
		s, err := Open(t.Context(), src)
		if err != nil {
			return
		}
		found, err := s.places(t.Context(), &e.ID)
		if err == nil && (len(found) != 1 || found[0].Entry != e) {
			t.Fatalf("found %+v", found)
		}
	})
}

// About one unknown chunk in a thousand passes a filter, and every known one.
func TestFilter(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 13))
	id := func() (id chunk.ID) {
		for i := 0; i < len(id); i += 8 {
			binary.LittleEndian.PutUint64(id[i:], r.Uint64())
		}
		return id
	}
	const n = 100_000
	f := newFilter(n)
	known := make([]chunk.ID, n)
	for i := range known {
		known[i] = id()
		f.add(&known[i])
	}
	for i := range known {
		if !f.has(&known[i]) {
			t.Fatal("a known chunk does not pass")
		}
	}
	passed := 0
	for range n {
		x := id()
		if f.has(&x) {
			passed++
		}
	}
	if passed > n/400 || passed == 0 {
		t.Errorf("%d of %d unknown chunks pass", passed, n)
	}
}

// userTime is what this process has used: on a loaded machine it says more than a clock.
func userTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano()
}

// BenchmarkUnknown looks up chunks that no segment has, as a full backup does.
func BenchmarkUnknown(b *testing.B) {
	for _, segments := range []int{10, 100, 600} {
		b.Run(fmt.Sprintf("segments=%d", segments), func(b *testing.B) {
			r := rand.New(rand.NewPCG(14, 14))
			remote := newRemote(b, NewPart(contents(r, 200, 328))) // 65,600 chunks
			var members []Lookup
			for range segments {
				s, err := OpenFrom(remote.source(nil), remote.data)
				if err != nil {
					b.Fatal(err)
				}
				members = append(members, s)
			}
			set := NewSet(members...)
			var id chunk.ID
			began := userTime(b)
			for b.Loop() {
				for i := 0; i < len(id); i += 8 {
					binary.LittleEndian.PutUint64(id[i:], r.Uint64())
				}
				if _, found, err := set.Find(b.Context(), id); found || err != nil {
					b.Fatal(found, err)
				}
			}
			b.ReportMetric(float64(userTime(b)-began)/float64(b.N), "user-ns/op")
		})
	}
}

// BenchmarkKnown looks up chunks that one of ten segments has, by copies on disk.
func BenchmarkKnown(b *testing.B) {
	r := rand.New(rand.NewPCG(15, 15))
	var members []Lookup
	var ids []chunk.ID
	for range 10 {
		all := contents(r, 200, 328)
		remote := newRemote(b, NewPart(all))
		s, err := OpenFrom(remote.source(newCache(b, b.TempDir())), remote.data)
		if err != nil {
			b.Fatal(err)
		}
		members = append(members, s)
		for _, c := range all {
			ids = append(ids, c.Entries[r.IntN(len(c.Entries))].ID)
		}
	}
	set := NewSet(members...)
	began := userTime(b)
	for b.Loop() {
		if _, found, err := set.Find(b.Context(), ids[r.IntN(len(ids))]); !found || err != nil {
			b.Fatal(found, err)
		}
	}
	b.ReportMetric(float64(userTime(b)-began)/float64(b.N), "user-ns/op")
}
