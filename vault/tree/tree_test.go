package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"holdfast/vault/chunk"
)

var errLost = errors.New("lost")

// store keeps nodes in memory and counts what was put.
type store struct {
	nodes map[chunk.ID][]byte
	puts  int
}

func newStore() *store { return &store{nodes: map[chunk.ID][]byte{}} }

func (s *store) LoadNode(_ context.Context, id chunk.ID) ([]byte, error) {
	data, ok := s.nodes[id]
	if !ok {
		return nil, errLost
	}
	return data, nil
}

func (s *store) PutNode(_ context.Context, data []byte) (chunk.ID, error) {
	id := chunk.ID(blake3.Sum256(data))
	s.nodes[id] = bytes.Clone(data)
	s.puts++
	return id, nil
}

func idOf(n uint64) (id chunk.ID) {
	binary.BigEndian.PutUint64(id[:], n+1)
	return id
}

// apply builds a tree from a parent and changes; zero ids remove.
func apply(t testing.TB, st Store, parent Root, chunks uint64, changes map[uint64]chunk.ID) (Root, uint64) {
	t.Helper()
	b, err := NewBuilder(t.Context(), st, chunks, parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range slices.Sorted(maps.Keys(changes)) {
		if _, err := b.Set(t.Context(), i, changes[i]); err != nil {
			t.Fatal(err)
		}
	}
	root, n, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return root, n
}

func walk(t testing.TB, st loader, root Root, from uint64) map[uint64]chunk.ID {
	t.Helper()
	got := map[uint64]chunk.ID{}
	last := int64(-1)
	err := Walk(t.Context(), st, root, from, Visitor{Chunk: func(i uint64, id chunk.ID) error {
		if int64(i) <= last || i < from || i >= root.Chunks {
			t.Fatalf("chunk %d after %d", i, last)
		}
		last = int64(i)
		got[i] = id
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Any sequence of changes and sizes gives what a plain map gives, and the same
// root however it was reached.
func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := newStore()
		sizes := rapid.SampledFrom([]uint64{1, 2, 255, 256, 257, 1000, 65535, 65536, 65537, 1 << 20, 1 << 30})
		var root Root
		model := map[uint64]chunk.ID{}
		for range rapid.IntRange(1, 5).Draw(rt, "rounds") {
			chunks := sizes.Draw(rt, "chunks")
			maps.DeleteFunc(model, func(i uint64, _ chunk.ID) bool { return i >= chunks })
			changes := map[uint64]chunk.ID{}
			for range rapid.IntRange(0, 20).Draw(rt, "changes") {
				i := rapid.Uint64Range(0, chunks-1).Draw(rt, "chunk")
				changes[i] = chunk.ID{}
				delete(model, i)
				if v := rapid.Uint64Range(0, 9).Draw(rt, "value"); v > 1 {
					changes[i], model[i] = idOf(v), idOf(v)
				}
			}
			var n uint64
			root, n = apply(t, st, root, chunks, changes)
			if got := walk(t, st, root, 0); !maps.Equal(got, model) || n != uint64(len(model)) {
				rt.Fatalf("%d chunks of %d: %v, want %v", n, chunks, got, model)
			}
			if plain, _ := apply(t, st, Root{}, chunks, model); plain != root {
				rt.Fatal("the root depends on the way")
			}
			from := rapid.Uint64Range(0, chunks-1).Draw(rt, "from")
			want := maps.Clone(model)
			maps.DeleteFunc(want, func(i uint64, _ chunk.ID) bool { return i < from })
			if got := walk(t, st, root, from); !maps.Equal(got, want) {
				rt.Fatalf("from %d: %v, want %v", from, got, want)
			}
			if n, err := Count(t.Context(), st, root, from); err != nil || n != uint64(len(want)) {
				rt.Fatalf("count from %d = %d, %v, want %d", from, n, err, len(want))
			}
			if id, err := Lookup(t.Context(), st, root, from); err != nil || id != model[from] {
				rt.Fatalf("lookup %d = %v, %v", from, id, err)
			}
		}
	})
}

// The cost of a change follows the change, not the disk.
func TestCostFollowsChange(t *testing.T) {
	for _, chunks := range []uint64{1 << 16, 1 << 24, 1 << 30} {
		st := newStore()
		all := map[uint64]chunk.ID{}
		for i := range uint64(1000) {
			all[i*(chunks/1000)] = idOf(i)
		}
		root, _ := apply(t, st, Root{}, chunks, all)
		before := st.puts
		same, _ := apply(t, st, root, chunks, nil)
		if same != root || st.puts != before {
			t.Errorf("%d chunks: no change stored %d nodes", chunks, st.puts-before)
		}
		apply(t, st, root, chunks, map[uint64]chunk.ID{5: idOf(7)})
		if n := st.puts - before; n != Top(chunks)+1 {
			t.Errorf("%d chunks: one change stored %d nodes", chunks, n)
		}
	}
}

func TestOrderAndBounds(t *testing.T) {
	b, err := NewBuilder(t.Context(), newStore(), 10, Root{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Set(t.Context(), 5, idOf(1)); err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint64{5, 4, 10, 1 << 60} {
		if _, err := b.Set(t.Context(), i, idOf(1)); !errors.Is(err, ErrMalformed) {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	for _, chunks := range []uint64{0, 1<<40 + 1} {
		if _, err := NewBuilder(t.Context(), newStore(), chunks, Root{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d chunks: %v", chunks, err)
		}
	}
}

// A lost node costs its own chunks only.
func TestLostNode(t *testing.T) {
	st := newStore()
	changes := map[uint64]chunk.ID{}
	for i := range uint64(1000) {
		changes[i] = idOf(i)
	}
	root, _ := apply(t, st, Root{}, 1000, changes)
	top, err := load(t.Context(), st, root.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	delete(st.nodes, top.ids[1])
	var lost [2]uint64
	n := 0
	err = Walk(t.Context(), st, root, 0, Visitor{
		Chunk: func(uint64, chunk.ID) error { n++; return nil },
		Lost:  func(from, to uint64, _ error) error { lost = [2]uint64{from, to}; return nil },
	})
	if err != nil || n != 744 || lost != [2]uint64{256, 512} {
		t.Errorf("%d chunks, lost %v, %v", n, lost, err)
	}
	if err := Walk(t.Context(), st, root, 0, Visitor{Chunk: func(uint64, chunk.ID) error { return nil }}); !errors.Is(err, errLost) {
		t.Errorf("without Lost: %v", err)
	}
}

// A node whose children lie beyond the end of the image, or of the wrong level:
// a holder of the data key could make it.
func TestHostileNodes(t *testing.T) {
	st := newStore()
	root, _ := apply(t, st, Root{}, 300, map[uint64]chunk.ID{290: idOf(1)})
	for name, r := range map[string]Root{"beyond the end": {root.ID, 280}, "wrong height": {root.ID, 200}, "too high": {root.ID, 1 << 20}} {
		err := Walk(t.Context(), st, r, 0, Visitor{Chunk: func(uint64, chunk.ID) error { return nil }})
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeNode(f *testing.F) {
	st := newStore()
	root, _ := apply(f, st, Root{}, 70000, map[uint64]chunk.ID{1: idOf(1), 300: idOf(2), 69999: idOf(3)})
	for _, data := range st.nodes {
		f.Add(data, Top(root.Chunks))
		f.Add(data, 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, level int) {
		if level < 0 || level > MaxLevel {
			return
		}
		n, err := decode(data, level)
		if err == nil && !bytes.Equal(n.encode(nil), data) {
			t.Error("a node does not write as it was read")
		}
	})
}
