package index

import (
	"slices"

	"holdfast/vault/pack"
)

// Join merges parts into one.
func Join(parts ...*Part) *Part {
	n := 0
	for _, p := range parts {
		n += len(p.Entries)
	}
	j := NewJoiner(n)
	for _, p := range parts {
		j.Add(p)
	}
	return j.Part()
}

// Joiner merges parts that are not in memory at the same time.
type Joiner struct {
	part *Part
	at   map[pack.Info]uint32
}

// NewJoiner has room for so many entries; more are taken, too.
func NewJoiner(entries int) *Joiner {
	return &Joiner{&Part{Entries: make([]Entry, 0, entries)}, map[pack.Info]uint32{}}
}

// Add takes what a part says; the part is not kept.
func (j *Joiner) Add(p *Part) {
	to := make([]uint32, len(p.Packs))
	for i, info := range p.Packs {
		at, ok := j.at[info]
		if !ok {
			at = uint32(len(j.part.Packs)) //nolint:gosec // at most maxPacks
			j.at[info] = at
			j.part.Packs = append(j.part.Packs, info)
		}
		to[i] = at
	}
	for _, e := range p.Entries {
		e.Pack = to[e.Pack]
		j.part.Entries = append(j.part.Entries, e)
	}
}

// Part returns what was added. The Joiner is of no more use.
func (j *Joiner) Part() *Part {
	slices.SortFunc(j.part.Entries, Entry.compare)
	j.part.Entries = slices.CompactFunc(j.part.Entries, func(a, b Entry) bool { return a.compare(b) == 0 })
	return j.part
}
