package index

import (
	"encoding/binary"
	"fmt"

	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// A segment is the clear header, then the entries and the table of packs in
// blocks of perBlock records, then the directory with the first eight bytes of
// each entry block's first id, then a trailer with the two counts. Every block is
// sealed by itself, so that a reader may fetch the trailer and the directory, and
// then only the blocks it needs.
const (
	trailerSize = 24
	trailMagic  = "INDEXDR1"

	packsOrdinal = 1 << 40
	dirOrdinal   = 1 << 41
)

// MaxSegment is the size in bytes of the largest segment that Decode accepts.
const MaxSegment = 1 << 34

// Encode seals a part as a segment of the given name.
func Encode(keys seal.Keyring, h seal.Header, name string, p *Part) ([]byte, error) {
	if len(p.Entries) > maxEntries || len(p.Packs) > maxPacks {
		return nil, fmt.Errorf("%w: %d entries in %d packs", ErrMalformed, len(p.Entries), len(p.Packs))
	}
	box, err := seal.NewBox(keys, h)
	if err != nil {
		return nil, err
	}
	l := layoutOf(len(p.Entries), len(p.Packs))
	id := bindID(name, l)
	out := h.Append(make([]byte, 0, l.size()))
	var dir, block []byte
	put := func(ordinal uint64) {
		out = box.Seal(out, block, seal.Frame{Ordinal: ordinal, ID: id, Plain: uint32(len(block))}) //nolint:gosec // a block
	}
	for i := range l.entryBlocks {
		block = block[:0]
		for _, e := range p.Entries[i*perBlock : min((i+1)*perBlock, l.entries)] {
			block = e.append(block)
		}
		dir = append(dir, block[:8]...)
		put(uint64(i)) //nolint:gosec // positive
	}
	for i := range l.packBlocks {
		block = block[:0]
		for _, k := range p.Packs[i*perBlock : min((i+1)*perBlock, l.packs)] {
			block = appendPack(block, k)
		}
		put(packsOrdinal + uint64(i)) //nolint:gosec // positive
	}
	block = dir
	put(dirOrdinal)
	out = binary.LittleEndian.AppendUint32(out, uint32(l.entries)) //nolint:gosec // checked above
	out = binary.LittleEndian.AppendUint32(out, uint32(l.packs))   //nolint:gosec // checked above
	out = append(out, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(out, trailMagic...), nil
}

// Decode opens a whole segment. maxChunk bounds the plain length of an entry.
// Anything wrong is ErrMalformed or a sealing error; memory stays within a small
// multiple of the input.
func Decode(keys seal.Keyring, name string, data []byte, maxChunk int) (*Part, error) {
	l, err := parseTrailer(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	h, err := seal.ParseHeader(data, seal.Index)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	box, err := seal.NewBox(keys, h)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d := &decoder{box: box, id: bindID(name, l), rest: data[seal.HeaderSize:], max: maxChunk,
		part: &Part{Entries: make([]Entry, 0, l.entries), Packs: make([]pack.Info, 0, l.packs)}}
	if err := d.run(l); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d.part, nil
}

type layout struct{ entries, packs, entryBlocks, packBlocks int }

func layoutOf(entries, packs int) layout {
	return layout{entries, packs, (entries + perBlock - 1) / perBlock, (packs + perBlock - 1) / perBlock}
}

func (l layout) size() int {
	return seal.HeaderSize + l.entries*entrySize + l.packs*packSize + l.entryBlocks*8 +
		(l.entryBlocks+l.packBlocks+1)*seal.Overhead + trailerSize
}

// bindID binds every block to the segment's name and counts.
func bindID(name string, l layout) [32]byte {
	return seal.NameID(fmt.Sprintf("%s\x00%d\x00%d", name, l.entries, l.packs))
}

func parseTrailer(data []byte) (layout, error) {
	if len(data) < seal.HeaderSize+seal.Overhead+trailerSize {
		return layout{}, ErrMalformed
	}
	t := data[len(data)-trailerSize:]
	entries, packs := binary.LittleEndian.Uint32(t), binary.LittleEndian.Uint32(t[4:])
	if string(t[16:]) != trailMagic || binary.LittleEndian.Uint64(t[8:]) != 0 || entries > maxEntries || packs > maxPacks {
		return layout{}, ErrMalformed
	}
	l := layoutOf(int(entries), int(packs))
	if l.size() != len(data) {
		return layout{}, ErrMalformed
	}
	return l, nil
}

type decoder struct {
	box   *seal.Box
	id    [32]byte
	rest  []byte
	block []byte
	part  *Part
	max   int
}

func (d *decoder) next(ordinal uint64, n int) ([]byte, error) {
	sealed := d.rest[:n+seal.Overhead]
	d.rest = d.rest[len(sealed):]
	var err error
	d.block, err = d.box.Open(d.block[:0], sealed, seal.Frame{Ordinal: ordinal, ID: d.id, Plain: uint32(n)}) //nolint:gosec // in data
	return d.block, err
}

func (d *decoder) run(l layout) error {
	for i := range l.entryBlocks {
		b, err := d.next(uint64(i), min(perBlock, l.entries-i*perBlock)*entrySize) //nolint:gosec // positive
		if err != nil {
			return err
		}
		for ; len(b) > 0; b = b[entrySize:] {
			d.part.Entries = append(d.part.Entries, decodeEntry(b))
		}
	}
	for i := range l.packBlocks {
		b, err := d.next(packsOrdinal+uint64(i), min(perBlock, l.packs-i*perBlock)*packSize) //nolint:gosec // positive
		if err != nil {
			return err
		}
		for ; len(b) > 0; b = b[packSize:] {
			p, err := decodePack(b)
			if err != nil {
				return err
			}
			d.part.Packs = append(d.part.Packs, p)
		}
	}
	if _, err := d.next(dirOrdinal, l.entryBlocks*8); err != nil {
		return err
	}
	return d.part.check(d.max)
}

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
