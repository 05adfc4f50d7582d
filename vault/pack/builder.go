package pack

import (
	"encoding/binary"
	"sync"

	"holdfast/vault/chunk"
	"holdfast/vault/seal"
)

// Builder fills one pack. Reserve calls must not overlap each other, nor Finish;
// the Puts of reserved slots may run concurrently.
type Builder struct {
	info    Info
	box     *seal.Box
	buf     []byte
	limit   int
	entries []Entry
	filling sync.WaitGroup
}

// Slot is room reserved in a pack, to be filled by exactly one Put.
type Slot struct {
	b  *Builder
	e  Entry
	at []byte // empty, with room for the sealed bytes only
}

// NewBuilder begins a pack in buf, whose capacity is the pack's largest size.
func NewBuilder(keys seal.Keyring, info Info, buf []byte) (*Builder, error) {
	box, err := seal.NewBox(keys, info.Header())
	if err != nil {
		return nil, err
	}
	buf = info.Header().Append(buf[:0])
	return &Builder{info: info, box: box, buf: buf, limit: min(cap(buf), MaxSize)}, nil
}

// Room reports whether a payload of n bytes still fits.
func (b *Builder) Room(n int) bool {
	toc := (len(b.entries)+1)*entrySize + seal.Overhead + TrailerSize
	return len(b.buf)+n+seal.Overhead+toc <= b.limit && len(b.entries) < maxEntries
}

// Reserve takes the next ordinal and place for a payload, for which Room must
// have been asked.
func (b *Builder) Reserve(kind chunk.Kind, id chunk.ID, codec chunk.Codec, payload, plain int) Slot {
	off, sealed := len(b.buf), payload+seal.Overhead
	e := Entry{ID: id, Kind: kind, Codec: codec, Ordinal: uint32(len(b.entries)), //nolint:gosec // bounded by Room
		Offset: uint32(off), Sealed: uint32(sealed), Plain: uint32(plain)} //nolint:gosec // bounded by Room
	b.entries = append(b.entries, e)
	b.buf = b.buf[:off+sealed]
	b.filling.Add(1)
	return Slot{b, e, b.buf[off : off : off+sealed]}
}

// Put seals the payload into its slot.
func (s Slot) Put(payload []byte) {
	defer s.b.filling.Done()
	s.b.box.Seal(s.at, payload, s.e.Frame())
}

// Finish waits for the slots to be filled and returns the whole pack, in the
// builder's buffer, with what is to be known of it.
func (b *Builder) Finish() (Info, []Entry, []byte) {
	b.filling.Wait()
	toc := make([]byte, 0, len(b.entries)*entrySize)
	for _, e := range b.entries {
		toc = append(toc, e.ID[:]...)
		toc = append(toc, byte(e.Kind), byte(e.Codec), 0, 0)
		toc = binary.LittleEndian.AppendUint32(toc, e.Sealed)
		toc = binary.LittleEndian.AppendUint32(toc, e.Plain)
	}
	name := b.info.Name()
	b.buf = b.box.Seal(b.buf, toc, tocFrame(name, len(b.entries)))
	b.buf = binary.LittleEndian.AppendUint32(b.buf, uint32(len(b.entries))) //nolint:gosec // bounded by Room
	b.buf = append(b.buf, 0, 0, 0, 0)
	b.buf = append(b.buf, trailMagic...)
	b.info.Size = uint32(len(b.buf))      //nolint:gosec // at most MaxSize
	b.info.Count = uint32(len(b.entries)) //nolint:gosec // bounded by Room
	return b.info, b.entries, b.buf
}

func tocFrame(name string, count int) seal.Frame {
	return seal.Frame{Ordinal: tocOrdinal, ID: seal.NameID(name), Plain: uint32(count * entrySize)} //nolint:gosec // bounded by Room
}
