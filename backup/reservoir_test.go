package backup

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdfast/disk"
)

// TestReservoirIsFair: each chunk is chosen about as often as any other.
func TestReservoirIsFair(t *testing.T) {
	const n, all, rounds = 8, 100, 20000
	var times [all]int
	for seed := range uint64(rounds) {
		r := newReservoir(n, rand.New(rand.NewPCG(seed, 1)))
		r.add(span{0, 3})
		r.add(span{3, 10})
		r.add(span{10, 90})
		r.add(span{90, all})
		got := r.chosen()
		if len(got) != n || len(slices.Compact(slices.Clone(got))) != n {
			t.Fatalf("seed %d: %v", seed, got)
		}
		for _, c := range got {
			times[c]++
		}
	}
	for c, got := range times { // 1600, standard deviation 38
		if got < 1600-6*38 || got > 1600+6*38 {
			t.Errorf("chunk %d was chosen %d times of %d, not about %d", c, got, rounds, rounds*n/all)
		}
	}
}

func TestReservoirOfFew(t *testing.T) {
	r := newReservoir(5, rand.New(rand.NewPCG(1, 1)))
	r.add(span{7, 9})
	r.add(span{20, 22})
	if got := r.chosen(); !slices.Equal(got, []uint64{7, 8, 20, 21}) {
		t.Errorf("got %v", got)
	}
}

// TestWholeChunks against the plain reading of what they are.
func TestWholeChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cs := int64(4)
		clean := rapid.SliceOfN(rapid.Bool(), 1, 40).Draw(t, "clean")
		known := rapid.Int64Range(0, int64(len(clean))).Draw(t, "known")
		w := piece{size: int64(len(clean))}
		w.known.Size = known
		src := &extents{}
		for i := range clean {
			zero := rapid.Bool().Draw(t, "zero")
			src.list = append(src.list, disk.Extent{Offset: int64(i), Length: 1, Clean: clean[i], Zero: zero})
		}
		got := map[uint64]bool{}
		for c, err := range wholeChunks(w.extents(t.Context(), src), cs, w.size) {
			if err != nil || c.first >= c.end {
				t.Fatal(c, err)
			}
			for i := c.first; i < c.end; i++ {
				got[i] = true
			}
		}
		for off := int64(0); off < w.size; off += cs {
			want := true
			for i := off; i < min(off+cs, w.size); i++ {
				want = want && clean[i] && i < known
			}
			if got[uint64(off/cs)] != want {
				t.Fatalf("chunk at %d: %v, want %v", off, got[uint64(off/cs)], want)
			}
		}
	})
}

// extents is a source of which only these are asked.
type extents struct {
	disk.Source

	list []disk.Extent
}

func (s *extents) Extents(context.Context) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for _, e := range s.list {
			if !yield(e, nil) {
				return
			}
		}
	}
}
