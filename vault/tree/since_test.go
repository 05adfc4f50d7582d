package tree

import (
	"context"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdfast/vault/chunk"
)

// counted counts the nodes that are read.
type counted struct {
	*store
	loads int
}

func (c *counted) LoadNode(ctx context.Context, id chunk.ID) ([]byte, error) {
	c.loads++
	return c.store.LoadNode(ctx, id)
}

// What a walk since a base visits is what was set since, and no more nodes are
// read than lead there.
func TestWalkSince(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := newStore()
		chunks := rapid.Uint64Range(1, 1<<20).Draw(rt, "chunks")
		draw := func(name string, from uint64) map[uint64]chunk.ID {
			m := map[uint64]chunk.ID{}
			for n, i := range rapid.SliceOfN(rapid.Uint64Range(0, chunks-1), 0, 40).Draw(rt, name) {
				m[i] = idOf(from + uint64(n)%7)
			}
			return m
		}
		was := draw("base", 0)
		base, _ := apply(t, st, Root{Chunks: chunks}, chunks, was)
		changes := draw("changes", 5)
		root, _ := apply(t, st, base, chunks, changes)
		want := map[uint64]chunk.ID{}
		for i, id := range changes {
			if was[i] != id {
				want[i] = id
			}
		}
		got := map[uint64]chunk.ID{}
		nodes := 0
		reads := &counted{store: st}
		err := WalkSince(t.Context(), reads, root, st, base, Visitor{
			Node:  func(chunk.ID, uint64, uint64) error { nodes++; return nil },
			Chunk: func(i uint64, id chunk.ID) error { got[i] = id; return nil },
		})
		if err != nil || !maps.Equal(got, want) {
			rt.Fatalf("%v: visited %v instead of %v", err, got, want)
		}
		if most := len(want) * (Top(chunks) + 1); nodes > most || reads.loads != nodes {
			rt.Fatalf("%d nodes were visited and %d read for %d changes", nodes, reads.loads, len(want))
		}
	})
}

// Without a base that can be used, everything is visited.
func TestWalkSinceWithoutBase(t *testing.T) {
	st := newStore()
	set := map[uint64]chunk.ID{0: idOf(1), 300: idOf(2), 70_000: idOf(3)}
	root, _ := apply(t, st, Root{Chunks: 70_001}, 70_001, set)
	small, _ := apply(t, st, Root{Chunks: 200}, 200, map[uint64]chunk.ID{0: idOf(1)})
	lost, _ := apply(t, newStore(), Root{Chunks: 70_001}, 70_001, map[uint64]chunk.ID{0: idOf(1), 4: idOf(9)})
	for name, base := range map[string]Root{"none": {}, "smaller": small, "lost": lost} {
		var got []uint64
		err := WalkSince(t.Context(), st, root, st, base, Visitor{
			Node:  func(chunk.ID, uint64, uint64) error { return nil },
			Chunk: func(i uint64, _ chunk.ID) error { got = append(got, i); return nil },
		})
		if err != nil || !slices.Equal(got, []uint64{0, 300, 70_000}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if err := WalkSince(t.Context(), newStore(), root, st, small, Visitor{Node: func(chunk.ID, uint64, uint64) error { return nil }}); err == nil {
		t.Error("a tree that cannot be read was walked")
	}
}
