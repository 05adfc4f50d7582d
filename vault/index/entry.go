// Package index maps chunk ids to their places in packs, in sealed, sorted, range-readable segments.
package index

import (
	"encoding/binary"
	"errors"

	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// Prefix is where index segments lie.
const Prefix = "index/"

const (
	entrySize  = 52
	packSize   = 128
	perBlock   = 256 // records in a block
	maxEntries = 1 << 28
	maxPacks   = 1 << 24
)

// ErrMalformed says that a segment's bytes do not follow the format.
var ErrMalformed = errors.New("malformed index segment")

// Entry is one chunk's place: 52 bytes in memory as in the format.
type Entry struct {
	ID      chunk.ID
	Pack    uint32 // place in the part's table of packs
	Ordinal uint32
	Offset  uint32
	Sealed  uint32
	Meta    uint32 // plain length, codec and kind: see meta
}

// Meta holds the plain length in bits 0 to 23, the codec in 24 to 27, the kind in 28 to 31.
func meta(e pack.Entry) uint32 {
	return e.Plain | uint32(e.Codec)<<24 | uint32(e.Kind)<<28
}

// MaxPlain is the longest plaintext an entry can describe, in bytes.
const MaxPlain = 1<<24 - 1

func newEntry(e pack.Entry, at uint32) Entry {
	return Entry{ID: e.ID, Pack: at, Ordinal: e.Ordinal, Offset: e.Offset, Sealed: e.Sealed, Meta: meta(e)}
}

// Unpack returns the entry in the form a pack's table of contents has.
func (e Entry) Unpack() pack.Entry {
	return pack.Entry{ID: e.ID, Kind: chunk.Kind(e.Meta >> 28), Codec: chunk.Codec(e.Meta >> 24 & 15),
		Ordinal: e.Ordinal, Offset: e.Offset, Sealed: e.Sealed, Plain: e.Meta & MaxPlain}
}

func (e Entry) compare(o Entry) int {
	if c := e.ID.Compare(o.ID); c != 0 {
		return c
	}
	if e.Pack != o.Pack {
		return int(int64(e.Pack) - int64(o.Pack))
	}
	return int(int64(e.Ordinal) - int64(o.Ordinal))
}

func (e Entry) append(b []byte) []byte {
	b = append(b, e.ID[:]...)
	for _, v := range [...]uint32{e.Pack, e.Ordinal, e.Offset, e.Sealed, e.Meta} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func decodeEntry(b []byte) Entry {
	u := binary.LittleEndian.Uint32
	return Entry{ID: chunk.ID(b[:32]), Pack: u(b[32:]), Ordinal: u(b[36:]), Offset: u(b[40:]), Sealed: u(b[44:]), Meta: u(b[48:])}
}

func appendPack(b []byte, p pack.Info) []byte {
	var session [pack.MaxSession]byte
	copy(session[:], p.Session)
	b = append(b, byte(len(p.Session))) //nolint:gosec // at most MaxSession
	b = append(b, session[:]...)
	b = append(b, byte(p.Class), 0, 0)
	b = append(b, p.ID[:]...)
	b = append(b, p.Salt[:]...)
	for _, v := range [...]uint32{p.Epoch, p.Size, p.Count} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func decodePack(b []byte) (pack.Info, error) {
	u := binary.LittleEndian.Uint32
	n := int(b[0])
	if n == 0 || n > pack.MaxSession {
		return pack.Info{}, ErrMalformed
	}
	p := pack.Info{Session: string(b[1 : 1+n]), Class: pack.Class(b[65]), ID: [16]byte(b[68:84]), Salt: [32]byte(b[84:116]),
		Epoch: u(b[116:]), Size: u(b[120:]), Count: u(b[124:])}
	if _, err := pack.ParseName(p.Name()); err != nil || p.Size > pack.MaxSize {
		return pack.Info{}, ErrMalformed
	}
	return p, nil
}
