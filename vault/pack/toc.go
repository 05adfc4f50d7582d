package pack

import (
	"context"
	"encoding/binary"
	"fmt"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/seal"
)

// ReadTOC reads a pack's header, trailer and table of contents, and nothing of
// its chunks. Size is the blob's. maxChunk bounds the plain length of an entry.
// Anything wrong is ErrMalformed or a sealing error, found before much is allocated.
func ReadTOC(ctx context.Context, st blob.Storage, keys seal.Keyring, name string, size int64, maxChunk int) (Info, []Entry, error) {
	info, err := ParseName(name)
	if err != nil {
		return Info{}, nil, err
	}
	if size < seal.HeaderSize+seal.Overhead+TrailerSize || size > MaxSize {
		return Info{}, nil, fmt.Errorf("%w: %s has %d bytes", ErrMalformed, name, size)
	}
	var head [seal.HeaderSize]byte
	var trail [TrailerSize]byte
	if err := st.ReadAt(ctx, name, head[:], 0); err != nil {
		return Info{}, nil, err
	}
	if err := st.ReadAt(ctx, name, trail[:], size-TrailerSize); err != nil {
		return Info{}, nil, err
	}
	count, err := parseTrailer(trail, size)
	if err != nil {
		return Info{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	sealed := make([]byte, count*entrySize+seal.Overhead)
	if err := st.ReadAt(ctx, name, sealed, size-TrailerSize-int64(len(sealed))); err != nil {
		return Info{}, nil, err
	}
	return openTOC(keys, info, head, sealed, count, size, maxChunk)
}

// KnownTOC is ReadTOC for a pack of which everything is known: one request.
func KnownTOC(ctx context.Context, st blob.Storage, keys seal.Keyring, p Info, maxChunk int) ([]Entry, error) {
	n := int64(p.Count)*entrySize + seal.Overhead
	size := int64(p.Size)
	if p.Count > maxEntries || size > MaxSize || n > size-seal.HeaderSize-TrailerSize {
		return nil, fmt.Errorf("%w: %s of %d chunks has %d bytes", ErrMalformed, p.Name(), p.Count, size)
	}
	sealed := make([]byte, n)
	if err := st.ReadAt(ctx, p.Name(), sealed, size-TrailerSize-n); err != nil {
		return nil, err
	}
	_, entries, err := openTOC(keys, p, [seal.HeaderSize]byte(p.Header().Append(nil)), sealed, int(p.Count), size, maxChunk)
	return entries, err
}

// ParseTOC is ReadTOC over a whole pack in memory.
func ParseTOC(keys seal.Keyring, name string, data []byte, maxChunk int) (Info, []Entry, error) {
	info, err := ParseName(name)
	if err != nil {
		return Info{}, nil, err
	}
	size := int64(len(data))
	if size < seal.HeaderSize+seal.Overhead+TrailerSize || size > MaxSize {
		return Info{}, nil, fmt.Errorf("%w: %s has %d bytes", ErrMalformed, name, size)
	}
	trail := [TrailerSize]byte(data[size-TrailerSize:])
	count, err := parseTrailer(trail, size)
	if err != nil {
		return Info{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	end := size - TrailerSize
	sealed := append([]byte(nil), data[end-int64(count*entrySize+seal.Overhead):end]...)
	return openTOC(keys, info, [seal.HeaderSize]byte(data), sealed, count, size, maxChunk)
}

func parseTrailer(trail [TrailerSize]byte, size int64) (count int, err error) {
	n := binary.LittleEndian.Uint32(trail[:])
	if string(trail[8:]) != trailMagic || binary.LittleEndian.Uint32(trail[4:]) != 0 || n > maxEntries ||
		int64(n)*entrySize > size-seal.HeaderSize-seal.Overhead-TrailerSize {
		return 0, fmt.Errorf("%w: trailer", ErrMalformed)
	}
	return int(n), nil
}

func openTOC(keys seal.Keyring, info Info, head [seal.HeaderSize]byte, sealed []byte, count int, size int64, maxChunk int) (Info, []Entry, error) {
	name := info.Name()
	h, err := seal.ParseHeader(head[:], seal.Pack)
	if err != nil {
		return Info{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	info.Epoch, info.Salt = h.Epoch, h.Salt
	info.Size, info.Count = uint32(size), uint32(count) //nolint:gosec // bounded by the callers
	box, err := seal.NewBox(keys, h)
	if err != nil {
		return Info{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	toc, err := box.Open(sealed[:0], sealed, tocFrame(name, count))
	if err != nil {
		return Info{}, nil, fmt.Errorf("%s: table of contents: %w", name, err)
	}
	entries, err := decodeTOC(toc, size-TrailerSize-int64(count*entrySize+seal.Overhead), maxChunk)
	if err != nil {
		return Info{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	return info, entries, nil
}

// decodeTOC lays the entries end to end; they must fill the pack up to end exactly.
func decodeTOC(toc []byte, end int64, maxChunk int) ([]Entry, error) {
	if len(toc)%entrySize != 0 {
		return nil, fmt.Errorf("%w: table of contents", ErrMalformed)
	}
	entries := make([]Entry, 0, len(toc)/entrySize)
	off := int64(seal.HeaderSize)
	for ; len(toc) > 0; toc = toc[entrySize:] {
		e := Entry{
			ID: chunk.ID(toc[:32]), Kind: chunk.Kind(toc[32]), Codec: chunk.Codec(toc[33]),
			Ordinal: uint32(len(entries)), Offset: uint32(off), //nolint:gosec // off is below end
			Sealed: binary.LittleEndian.Uint32(toc[36:]), Plain: binary.LittleEndian.Uint32(toc[40:]),
		}
		if toc[34] != 0 || toc[35] != 0 || !e.Valid(maxChunk) || int64(e.Sealed) > end-off {
			return nil, fmt.Errorf("%w: entry %d", ErrMalformed, len(entries))
		}
		off += int64(e.Sealed)
		entries = append(entries, e)
	}
	if off != end {
		return nil, fmt.Errorf("%w: %d bytes belong to no chunk", ErrMalformed, end-off)
	}
	return entries, nil
}

// Valid reports whether an entry keeps the bounds that every reader relies on:
// a known kind and codec, lengths of at least one byte, and no payload or
// plaintext larger than maxChunk bytes.
func (e Entry) Valid(maxChunk int) bool {
	if e.Kind > chunk.Node || e.Codec > chunk.Zstd || e.Plain == 0 || int64(e.Plain) > int64(maxChunk) {
		return false
	}
	payload := int64(e.Sealed) - seal.Overhead
	if e.Codec == chunk.Raw {
		return payload == int64(e.Plain)
	}
	return payload > 0 && payload < int64(e.Plain)
}
