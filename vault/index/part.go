package index

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"

	"holdfast/vault/chunk"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// Part is a sorted run of entries with the packs they lie in. It is immutable.
type Part struct {
	Entries []Entry
	Packs   []pack.Info
}

// NewPart sorts the contents of packs into a part.
func NewPart(contents []Contents) *Part {
	n := 0
	for _, c := range contents {
		n += len(c.Entries)
	}
	p := &Part{Entries: make([]Entry, 0, n), Packs: make([]pack.Info, 0, len(contents))}
	for _, c := range contents {
		at := uint32(len(p.Packs)) //nolint:gosec // at most maxPacks
		p.Packs = append(p.Packs, c.Info)
		for _, e := range c.Entries {
			p.Entries = append(p.Entries, newEntry(e, at))
		}
	}
	slices.SortFunc(p.Entries, Entry.compare)
	return p
}

// Contents is a pack and what lies in it.
type Contents struct {
	Info    pack.Info
	Entries []pack.Entry
}

// All yields every place of a chunk.
func (p *Part) All(id chunk.ID) iter.Seq2[pack.Info, pack.Entry] {
	return func(yield func(pack.Info, pack.Entry) bool) {
		i := sort.Search(len(p.Entries), func(i int) bool { return p.Entries[i].ID.Compare(id) >= 0 })
		for ; i < len(p.Entries) && p.Entries[i].ID == id; i++ {
			if !yield(p.Packs[p.Entries[i].Pack], p.Entries[i].Unpack()) {
				return
			}
		}
	}
}

func (p *Part) places(_ context.Context, id *chunk.ID) (found []Place, err error) {
	for info, e := range p.All(*id) {
		found = append(found, Place{Pack: info, Entry: e})
	}
	return found, nil
}

func (p *Part) eachPack(_ context.Context, yield func(pack.Info) bool) error {
	for _, info := range p.Packs {
		if !yield(info) {
			return nil
		}
	}
	return nil
}

// maybe: a search is as cheap as a filter.
func (p *Part) maybe(*chunk.ID) bool { return true }

// check keeps the promises that lookups rely on.
func (p *Part) check(maxChunk int) error {
	for i, e := range p.Entries {
		if i > 0 && p.Entries[i-1].compare(e) >= 0 || int64(e.Pack) >= int64(len(p.Packs)) || !e.Unpack().Valid(maxChunk) ||
			e.Offset < seal.HeaderSize || int64(e.Offset)+int64(e.Sealed) > int64(p.Packs[e.Pack].Size) {
			return fmt.Errorf("%w: entry %d", ErrMalformed, i)
		}
	}
	return nil
}

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
