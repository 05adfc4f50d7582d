package vault

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"

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
// their first 16 bits: ids are evenly spread, so a lookup touches few lines of memory.
type markedPart struct {
	entries []index.Entry
	starts  []uint32
	packs   []*markedPack // nil for one that is not stored as the index says
}

// The most chunks a pack can have, by its trailer's bound.
const maxPackChunks = 1 << 18

func newMarker(in *Inspection) *marker {
	m := &marker{in: in, packs: map[string]*markedPack{}, nodes: map[chunk.ID]struct{}{}}
	for _, part := range in.set.Parts() {
		mp := markedPart{entries: part.Entries, packs: make([]*markedPack, len(part.Packs)), starts: make([]uint32, 1<<16+1)}
		for i, info := range part.Packs {
			name := info.Name()
			if size, ok := in.packs[name]; !ok || size != int64(info.Size) || info.Count > maxPackChunks {
				continue
			}
			p, ok := m.packs[name]
			if !ok {
				p = &markedPack{name: name, info: info, keep: make([]uint64, (info.Count+63)/64), loose: in.loose[name]}
				m.packs[name] = p
			}
			mp.packs[i] = p
		}
		next := 0
		for at := range part.Entries {
			for top := int(binary.BigEndian.Uint16(part.Entries[at].ID[:])); next <= top; next++ {
				mp.starts[next] = uint32(at) //nolint:gosec // at most maxEntries
			}
		}
		for ; next < len(mp.starts); next++ {
			mp.starts[next] = uint32(len(part.Entries)) //nolint:gosec // at most maxEntries
		}
		m.parts = append(m.parts, mp)
	}
	return m
}

// places collects the stored places of a chunk.
func (m *marker) places(kind chunk.Kind, id chunk.ID) []markedPlace {
	m.found = m.found[:0]
	top := int(binary.BigEndian.Uint16(id[:]))
	for i := range m.parts {
		part := &m.parts[i]
		from, to := int(part.starts[top]), int(part.starts[top+1])
		at := from + sort.Search(to-from, func(i int) bool { return part.entries[from+i].ID.Compare(id) >= 0 })
		for ; at < to && part.entries[at].ID == id; at++ {
			e := &part.entries[at]
			p := part.packs[e.Pack]
			if p == nil || chunk.Kind(e.Meta>>28) != kind || e.Ordinal >= p.info.Count {
				continue
			}
			m.found = append(m.found, markedPlace{p, e.Unpack()})
		}
	}
	return m.found
}

func (m *marker) mark(kind chunk.Kind, id chunk.ID) {
	places := m.places(kind, id)
	if len(places) == 0 {
		m.missing++ // counted each time it is met; a whole vault has none
		return
	}
	if places[0].p.has(places[0].e.Ordinal) {
		return
	}
	m.chunks++
	best := places[0]
	for _, at := range places {
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
		m.visit(places)
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
			m.mark(chunk.Node, id)
			return nil
		},
		Chunk: func(_ uint64, id chunk.ID) error {
			m.mark(chunk.Data, id)
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("backup %s, image %s: %w", backup, im.Name, err)
	}
	return nil
}
