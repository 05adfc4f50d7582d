package index

import (
	"encoding/binary"
	"fmt"
	"slices"

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

// MaxSegment is the size in bytes of the largest segment that is read.
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
	ordinal := l.entries.ordinal
	for part := range slices.Chunk(p.Entries, perBlock) {
		block = block[:0]
		for _, e := range part {
			block = e.append(block)
		}
		dir = append(dir, block[:8]...)
		put(ordinal)
		ordinal++
	}
	ordinal = l.packs.ordinal
	for part := range slices.Chunk(p.Packs, perBlock) {
		block = block[:0]
		for _, k := range part {
			block = appendPack(block, k)
		}
		put(ordinal)
		ordinal++
	}
	block = dir
	put(dirOrdinal)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(p.Entries))) //nolint:gosec // checked above
	out = binary.LittleEndian.AppendUint32(out, uint32(len(p.Packs)))   //nolint:gosec // checked above
	out = append(out, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(out, trailMagic...), nil
}

// layout tells where everything lies in a segment: that follows from the two counts.
type layout struct {
	entries, packs section
	dirAt          int64
}

// section is a run of records in sealed blocks.
type section struct {
	records, record int    // their number, and the bytes of one
	at              int64  // where it begins
	ordinal         uint64 // of the first block
}

func layoutOf(entries, packs int) layout {
	l := layout{entries: section{entries, entrySize, seal.HeaderSize, 0}}
	l.packs = section{packs, packSize, l.entries.off(l.entries.blocks()), packsOrdinal}
	l.dirAt = l.packs.off(l.packs.blocks())
	return l
}

func (c section) blocks() int { return (c.records + perBlock - 1) / perBlock }

// off is where a block begins, or where the section ends.
func (c section) off(b int) int64 {
	return c.at + int64(min(b*perBlock, c.records))*int64(c.record) + int64(b)*seal.Overhead
}

// plain is the number of bytes in a block.
func (c section) plain(b int) int { return min(perBlock, c.records-b*perBlock) * c.record }

// dirLen is the length of the sealed directory.
func (l layout) dirLen() int64 { return int64(l.entries.blocks())*8 + seal.Overhead }

func (l layout) size() int64 { return l.dirAt + l.dirLen() + trailerSize }

// maxTail is the length of the longest directory, with the trailer, that a segment
// of so many bytes can have.
func maxTail(size int64) int64 {
	return min((size/(perBlock*entrySize)+1)*8+seal.Overhead+trailerSize, size)
}

// bindID binds every block to the segment's name and counts.
func bindID(name string, l layout) [32]byte {
	return seal.NameID(fmt.Sprintf("%s\x00%d\x00%d", name, l.entries.records, l.packs.records))
}

// parseTrailer reads the end of a segment of so many bytes.
func parseTrailer(t []byte, size int64) (layout, error) {
	entries, packs := binary.LittleEndian.Uint32(t), binary.LittleEndian.Uint32(t[4:])
	if string(t[16:]) != trailMagic || binary.LittleEndian.Uint64(t[8:]) != 0 || entries > maxEntries || packs > maxPacks {
		return layout{}, ErrMalformed
	}
	l := layoutOf(int(entries), int(packs))
	if l.size() != size {
		return layout{}, ErrMalformed
	}
	return l, nil
}
