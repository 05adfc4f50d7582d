package index

import (
	"iter"
	"slices"
	"sort"

	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// Above so many parts a set merges them, so that a lookup stays a few searches.
const maxParts = 12

// Set is what several parts know together. It is immutable and safe for
// concurrent use.
type Set struct {
	parts []*Part
	dead  map[string]bool // names of packs that are not to be used
}

// NewSet returns a set over parts.
func NewSet(parts ...*Part) *Set {
	if len(parts) > maxParts {
		parts = []*Part{merge(parts)}
	}
	return &Set{parts: parts}
}

// With returns the set with one more part.
func (s *Set) With(p *Part) *Set {
	n := NewSet(append(slices.Clone(s.parts), p)...)
	n.dead = s.dead
	return n
}

// Without returns the set with no entry of packs for which usable is false.
func (s *Set) Without(usable func(pack.Info) bool) *Set {
	n := &Set{parts: s.parts, dead: map[string]bool{}}
	for p := range s.Packs {
		if !usable(p) {
			n.dead[p.Name()] = true
		}
	}
	return n
}

// Packs yields every pack the set knows; one may come more than once.
func (s *Set) Packs(yield func(pack.Info) bool) {
	for _, part := range s.parts {
		for _, p := range part.Packs {
			if !yield(p) {
				return
			}
		}
	}
}

// Parts are the parts the set looks into, not to be changed. A pack that Without
// has excluded may be in them.
func (s *Set) Parts() []*Part { return s.parts }

// Find returns a chunk's place, in a pack that is usable.
func (s *Set) Find(id chunk.ID) (pack.Info, pack.Entry, bool) {
	for info, e := range s.All(id) {
		return info, e, true
	}
	return pack.Info{}, pack.Entry{}, false
}

// All yields every usable place of a chunk, the newest part's first.
func (s *Set) All(id chunk.ID) iter.Seq2[pack.Info, pack.Entry] {
	return func(yield func(pack.Info, pack.Entry) bool) {
		for _, p := range slices.Backward(s.parts) {
			i := sort.Search(len(p.Entries), func(i int) bool { return p.Entries[i].ID.Compare(id) >= 0 })
			for ; i < len(p.Entries) && p.Entries[i].ID == id; i++ {
				info := p.Packs[p.Entries[i].Pack]
				if len(s.dead) != 0 && s.dead[info.Name()] {
					continue
				}
				if !yield(info, p.Entries[i].Unpack()) {
					return
				}
			}
		}
	}
}

// Len is the number of entries, counting a chunk that lies in two packs twice.
func (s *Set) Len() int {
	n := 0
	for _, p := range s.parts {
		n += len(p.Entries)
	}
	return n
}

func merge(parts []*Part) *Part {
	m := &Part{}
	at := map[pack.Info]uint32{}
	n := 0
	for _, p := range parts {
		n += len(p.Entries)
	}
	m.Entries = make([]Entry, 0, n)
	for _, p := range parts {
		for _, e := range p.Entries {
			info := p.Packs[e.Pack]
			to, ok := at[info]
			if !ok {
				to = uint32(len(m.Packs)) //nolint:gosec // at most maxPacks
				at[info] = to
				m.Packs = append(m.Packs, info)
			}
			e.Pack = to
			m.Entries = append(m.Entries, e)
		}
	}
	slices.SortFunc(m.Entries, Entry.compare)
	m.Entries = slices.CompactFunc(m.Entries, func(a, b Entry) bool { return a.compare(b) == 0 })
	return m
}

// Join merges parts into one.
func Join(parts ...*Part) *Part { return merge(parts) }

// Only returns the part's entries in packs for which keep is true.
func (p *Part) Only(keep func(pack.Info) bool) *Part {
	n := &Part{}
	at := make([]int64, len(p.Packs))
	for i, info := range p.Packs {
		at[i] = -1
		if keep(info) {
			at[i] = int64(len(n.Packs))
			n.Packs = append(n.Packs, info)
		}
	}
	for _, e := range p.Entries {
		if to := at[e.Pack]; to >= 0 {
			e.Pack = uint32(to) //nolint:gosec // at most maxPacks
			n.Entries = append(n.Entries, e)
		}
	}
	return n
}
