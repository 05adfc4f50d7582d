package vault

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/pack"
	"holdfast/vault/tree"
)

// markedPack is a stored pack and which of its chunks a backup needs.
type markedPack struct {
	name string
	info pack.Info
	keep []uint64 // bitmap by ordinal
	kept int
	live int64 // sealed bytes of the chunks whose best place is here
	// loose: no segment covers it, so that readers come here last.
	loose bool
	// damaged: it was found so, and holds what is needed only where nothing else does.
	damaged bool
}

func (p *markedPack) better(o *markedPack) bool {
	if p.loose != o.loose {
		return o.loose
	}
	if p.info.Size != o.info.Size {
		return p.info.Size > o.info.Size
	}
	return p.name < o.name // so that every plan says the same
}

func (p *markedPack) has(ordinal uint32) bool { return p.keep[ordinal/64]>>(ordinal%64)&1 != 0 }

// marker finds what backups need. Beside the index it holds one bit for each
// chunk and the ids of the tree nodes met: under 1 % of the chunks.
type marker struct {
	in     *Inspection
	parts  []markedPart
	packs  map[string]*markedPack
	nodes  map[chunk.ID]struct{}
	chunks uint64
	// missing chunks are in no pack of the length the index says.
	missing uint64
	// visit, if set, is called once for each needed chunk that has a place.
	visit func(places []markedPlace)
	found []markedPlace // of the chunk at hand
}

type markedPlace struct {
	p *markedPack
	e pack.Entry
}

// markedPart is an index part with a table of where the ids begin that share
// their first bits, about as many entries as it has: ids are evenly spread, so a
// lookup touches two or three lines of memory.
type markedPart struct {
	entries []index.Entry
	shift   int // of an id's first 32 bits, to its place in starts
	starts  []uint32
	packs   []*markedPack // nil for one that is not stored as the index says
}

// The most chunks a pack can have, by its trailer's bound.
const maxPackChunks = 1 << 18

func newMarker(in *Inspection) *marker {
	m := &marker{in: in, packs: map[string]*markedPack{}, nodes: map[chunk.ID]struct{}{}}
	for _, part := range in.parts {
		mp := newMarkedPart(part.Entries)
		for _, info := range part.Packs {
			mp.packs = append(mp.packs, m.pack(info))
		}
		m.parts = append(m.parts, mp)
	}
	// Most chunks are found in the largest.
	slices.SortStableFunc(m.parts, func(a, b markedPart) int { return cmp.Compare(len(b.entries), len(a.entries)) })
	return m
}

func (m *marker) pack(info pack.Info) *markedPack {
	name := info.Name()
	if size, ok := m.in.packs[name]; !ok || size != int64(info.Size) || info.Count > maxPackChunks {
		return nil
	}
	p, ok := m.packs[name]
	if !ok {
		p = &markedPack{name: name, info: info, keep: make([]uint64, (info.Count+63)/64), loose: m.in.loose[name], damaged: m.in.damaged[name]}
		m.packs[name] = p
	}
	return p
}

// The table of a part has at most so many bits.
const maxTableBits = 24

func newMarkedPart(entries []index.Entry) markedPart {
	size := min(bits.Len(uint(len(entries))), maxTableBits)
	mp := markedPart{entries: entries, shift: 32 - size, starts: make([]uint32, 1<<size+1)}
	next := 0
	for at := range entries {
		for top := mp.top(&entries[at].ID); next <= top; next++ {
			mp.starts[next] = uint32(at) //nolint:gosec // at most maxEntries
		}
	}
	for ; next < len(mp.starts); next++ {
		mp.starts[next] = uint32(len(entries)) //nolint:gosec // at most maxEntries
	}
	return mp
}

func (p *markedPart) top(id *chunk.ID) int {
	return int(binary.BigEndian.Uint32(id[:]) >> p.shift)
}

// add appends the stored places of a chunk.
func (p *markedPart) add(found []markedPlace, kind chunk.Kind, id *chunk.ID) []markedPlace {
	top := p.top(id)
	for at := p.starts[top]; at < p.starts[top+1]; at++ {
		e := &p.entries[at]
		if e.ID != *id || chunk.Kind(e.Meta>>28) != kind {
			continue
		}
		if mp := p.packs[e.Pack]; mp != nil && e.Ordinal < mp.info.Count {
			found = append(found, markedPlace{mp, e.Unpack()})
		}
	}
	return found
}

func (m *marker) mark(kind chunk.Kind, id *chunk.ID) {
	m.found = m.found[:0]
	for i := range m.parts {
		m.found = m.parts[i].add(m.found, kind, id)
		if i == 0 && len(m.found) > 0 && m.found[0].p.has(m.found[0].e.Ordinal) {
			return // all its places were marked then
		}
	}
	if len(m.found) == 0 {
		m.missing++ // counted each time it is met; a whole vault has none
		return
	}
	if slices.ContainsFunc(m.found, func(at markedPlace) bool { return !at.p.damaged }) {
		m.found = slices.DeleteFunc(m.found, func(at markedPlace) bool { return at.p.damaged })
	}
	best := m.found[0]
	if best.p.has(best.e.Ordinal) {
		return
	}
	m.chunks++
	for _, at := range m.found {
		if at.p.has(at.e.Ordinal) {
			continue // the same place in two segments
		}
		at.p.keep[at.e.Ordinal/64] |= 1 << (at.e.Ordinal % 64)
		at.p.kept++
		if at.p.better(best.p) {
			best = at
		}
	}
	best.p.live += int64(best.e.Sealed)
	if m.visit != nil {
		m.visit(m.found)
	}
}

// image marks what an image needs. Trees are walked once: a node that was met in
// another backup has been marked with all below it. A tree that cannot be read
// ends the marking, for what lies below it may be healed yet.
func (m *marker) image(ctx context.Context, backup string, im Image) error {
	err := m.in.Walk(ctx, im, tree.Visitor{
		Node: func(id chunk.ID, _, _ uint64) error {
			if _, ok := m.nodes[id]; ok {
				return tree.ErrSkip
			}
			m.nodes[id] = struct{}{}
			m.mark(chunk.Node, &id)
			return nil
		},
		Chunk: func(_ uint64, id chunk.ID) error {
			m.mark(chunk.Data, &id)
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("backup %s, image %s: %w", backup, im.Name, err)
	}
	return nil
}
