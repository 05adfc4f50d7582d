package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"holdfast/vault/chunk"
	"holdfast/vault/lru"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// Source says where a segment lies and how it is opened.
type Source struct {
	Keys     seal.Keyring
	Name     string
	Size     int64 // of the blob, in bytes
	MaxPlain int   // bounds the plain length of an entry
	// Read fills p from an offset of the blob, as a storage's ReadAt does.
	Read readAt
	// Blocks are shared by the segments of a vault.
	Blocks *Blocks
	// Cache holds copies of segments on this machine; nil for none.
	Cache *Cache
}

type readAt = func(ctx context.Context, p []byte, off int64) error

// Blocks keeps the opened blocks that were used last.
type Blocks struct{ cache *lru.Cache[blockKey, block] }

type blockKey struct {
	s       *Segment
	ordinal uint64
}

type block struct {
	entries []byte
	packs   []pack.Info
}

// NewBlocks returns an empty cache of opened blocks, bounded by bytes.
func NewBlocks(bytes int64) *Blocks { return &Blocks{lru.New[blockKey, block](bytes)} }

// Segment is an index segment whose blocks are read when they are needed: in
// memory are eight bytes for 256 entries. It is safe for concurrent use. What it
// returns of damage, or of forgery, is ErrMalformed, a sealing error or the
// storage's; memory is bounded by the blob's size.
type Segment struct {
	src  Source
	l    layout
	head [seal.HeaderSize]byte
	box  *seal.Box
	id   [32]byte
	dir  []uint64 // the first eight bytes of each block's first id

	copy   atomic.Pointer[copied] // on this machine, if there is one
	filter atomic.Pointer[filter] // if there is one
}

// Open reads a segment's header, directory and trailer: from a copy on this
// machine, or in two requests.
func Open(ctx context.Context, src Source) (*Segment, error) {
	if src.Size < seal.HeaderSize+seal.Overhead+trailerSize || src.Size > MaxSegment {
		return nil, fmt.Errorf("%s: %w: %d bytes", src.Name, ErrMalformed, src.Size)
	}
	if c := src.Cache.find(src); c != nil {
		s := &Segment{src: src}
		if f, err := s.openCopy(ctx, c); err == nil {
			s.copy.Store(c)
			s.filter.Store(f)
			return s, nil
		}
		c.remove()
	}
	s := &Segment{src: src}
	if err := s.open(ctx, src.Read); err != nil {
		return nil, fmt.Errorf("%s: %w", src.Name, err)
	}
	return s, nil
}

func (s *Segment) open(ctx context.Context, read readAt) error {
	tail := make([]byte, maxTail(s.src.Size))
	if err := read(ctx, s.head[:], 0); err != nil {
		return err
	}
	if err := read(ctx, tail, s.src.Size-int64(len(tail))); err != nil {
		return err
	}
	h, err := seal.ParseHeader(s.head[:], seal.Index)
	if err != nil {
		return err
	}
	if s.l, err = parseTrailer(tail[len(tail)-trailerSize:], s.src.Size); err != nil {
		return err
	}
	if s.box, err = seal.NewBox(s.src.Keys, h); err != nil {
		return err
	}
	s.id = bindID(s.src.Name, s.l)
	tail = tail[:len(tail)-trailerSize]
	dir, err := s.unseal(dirOrdinal, tail[int64(len(tail))-s.l.dirLen():])
	if err != nil {
		return err
	}
	s.dir = make([]uint64, s.l.entries.blocks())
	for i := range s.dir {
		s.dir[i] = binary.BigEndian.Uint64(dir[8*i:])
	}
	if !slices.IsSorted(s.dir) {
		return fmt.Errorf("%w: directory", ErrMalformed)
	}
	return nil
}

// Name is the name of the segment's blob.
func (s *Segment) Name() string { return s.src.Name }

// Len is the number of entries.
func (s *Segment) Len() int { return s.l.entries.records }

// unseal opens sealed bytes in place.
func (s *Segment) unseal(ordinal uint64, sealed []byte) ([]byte, error) {
	return s.box.Open(sealed[:0], sealed, seal.Frame{Ordinal: ordinal, ID: s.id, Plain: uint32(len(sealed) - seal.Overhead)}) //nolint:gosec // within a segment
}

// fetch reads and opens one block. A copy that does not give it is not asked again.
func (s *Segment) fetch(ctx context.Context, c section, b int) ([]byte, error) {
	sealed := make([]byte, c.plain(b)+seal.Overhead)
	ordinal, off := c.ordinal+uint64(b), c.off(b) //nolint:gosec // positive
	if near := s.copy.Load(); near != nil {
		if near.readAt(ctx, sealed, off) == nil {
			if plain, err := s.unseal(ordinal, sealed); err == nil {
				return plain, nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if s.copy.CompareAndSwap(near, nil) {
			near.remove()
		}
	}
	if err := s.src.Read(ctx, sealed, off); err != nil {
		return nil, err
	}
	return s.unseal(ordinal, sealed)
}

// entries returns the records of an entry block.
func (s *Segment) entries(ctx context.Context, b int) ([]byte, error) {
	key := blockKey{s, uint64(b)} //nolint:gosec // positive
	if got, ok := s.src.Blocks.cache.Get(key); ok {
		return got.entries, nil
	}
	data, err := s.fetch(ctx, s.l.entries, b)
	if err != nil {
		return nil, err
	}
	if err := s.checkBlock(b, data); err != nil {
		return nil, err
	}
	s.src.Blocks.cache.Put(key, block{entries: data}, int64(cap(data)))
	return data, nil
}

// checkBlock keeps the promises that lookups rely on, but for those that the
// table of packs is needed for.
func (s *Segment) checkBlock(b int, data []byte) error {
	last := Entry{}
	for i := range len(data) / entrySize {
		e := decodeEntry(data[i*entrySize:])
		if i == 0 && binary.BigEndian.Uint64(e.ID[:]) != s.dir[b] || i > 0 && last.compare(e) >= 0 ||
			int64(e.Pack) >= int64(s.l.packs.records) || !e.Unpack().Valid(s.src.MaxPlain) || e.Offset < seal.HeaderSize {
			return fmt.Errorf("%w: entry %d of block %d", ErrMalformed, i, b)
		}
		last = e
	}
	if b+1 < len(s.dir) && binary.BigEndian.Uint64(last.ID[:]) > s.dir[b+1] {
		return fmt.Errorf("%w: blocks %d and %d overlap", ErrMalformed, b, b+1)
	}
	return nil
}

// packs returns a block of the table of packs.
func (s *Segment) packs(ctx context.Context, b int) ([]pack.Info, error) {
	key := blockKey{s, packsOrdinal + uint64(b)} //nolint:gosec // positive
	if got, ok := s.src.Blocks.cache.Get(key); ok {
		return got.packs, nil
	}
	data, err := s.fetch(ctx, s.l.packs, b)
	if err != nil {
		return nil, err
	}
	infos, err := decodePacks(data)
	if err != nil {
		return nil, err
	}
	s.src.Blocks.cache.Put(key, block{packs: infos}, int64(len(infos))*2*packSize)
	return infos, nil
}

func decodePacks(data []byte) ([]pack.Info, error) {
	infos := make([]pack.Info, 0, len(data)/packSize)
	for ; len(data) > 0; data = data[packSize:] {
		p, err := decodePack(data)
		if err != nil {
			return nil, err
		}
		infos = append(infos, p)
	}
	return infos, nil
}

// eachPack yields the table of packs, until yield returns false.
func (s *Segment) eachPack(ctx context.Context, yield func(pack.Info) bool) error {
	for b := range s.l.packs.blocks() {
		infos, err := s.packs(ctx, b)
		if err != nil {
			return err
		}
		for _, p := range infos {
			if !yield(p) {
				return nil
			}
		}
	}
	return nil
}

// maybe reports false if the filter says that the segment does not have the chunk.
func (s *Segment) maybe(id *chunk.ID) bool {
	f := s.filter.Load()
	return f == nil || f.has(id)
}
