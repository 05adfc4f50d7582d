package index

import (
	"context"
	"fmt"
	"io"

	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// What is read at once of a segment that is read whole: so many blocks.
const scanBlocks = 64

// Part reads the whole segment from the storage into memory and proves it.
func (s *Segment) Part(ctx context.Context) (*Part, error) { return s.part(ctx, s.src.Read) }

// CopiedPart is Part from the copy on this machine, if there is one.
func (s *Segment) CopiedPart(ctx context.Context) (*Part, error) {
	if c := s.copy.Load(); c != nil {
		if p, err := s.part(ctx, c.readAt); err == nil {
			return p, nil
		}
	}
	return s.Part(ctx)
}

func (s *Segment) part(ctx context.Context, read readAt) (*Part, error) {
	p := &Part{Entries: make([]Entry, 0, s.l.entries.records), Packs: make([]pack.Info, 0, s.l.packs.records)}
	err := s.scan(ctx, read, io.Discard, func(data []byte) error {
		for ; len(data) > 0; data = data[entrySize:] {
			p.Entries = append(p.Entries, decodeEntry(data))
		}
		return nil
	}, func(data []byte) error {
		infos, err := decodePacks(data)
		p.Packs = append(p.Packs, infos...)
		return err
	})
	if err == nil {
		err = p.check(s.src.MaxPlain)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.src.Name, err)
	}
	return p, nil
}

// scan reads all blocks in order, opens them, and gives them out; raw gets the
// whole segment as it is stored.
func (s *Segment) scan(ctx context.Context, read readAt, raw io.Writer, entries, packs func([]byte) error) error {
	if _, err := raw.Write(s.head[:]); err != nil {
		return err
	}
	err := s.scanSection(ctx, read, raw, s.l.entries, func(b int, data []byte) error {
		if err := s.checkBlock(b, data); err != nil {
			return err
		}
		return entries(data)
	})
	if err != nil {
		return err
	}
	if err := s.scanSection(ctx, read, raw, s.l.packs, func(_ int, data []byte) error { return packs(data) }); err != nil {
		return err
	}
	tail := make([]byte, s.src.Size-s.l.dirAt)
	if err := read(ctx, tail, s.l.dirAt); err != nil {
		return err
	}
	_, err = raw.Write(tail)
	return err
}

func (s *Segment) scanSection(ctx context.Context, read readAt, raw io.Writer, c section, give func(b int, data []byte) error) error {
	buf := make([]byte, c.off(min(scanBlocks, c.blocks()))-c.at)
	for b := 0; b < c.blocks(); {
		end := min(b+scanBlocks, c.blocks())
		run := buf[:c.off(end)-c.off(b)]
		if err := read(ctx, run, c.off(b)); err != nil {
			return err
		}
		if _, err := raw.Write(run); err != nil {
			return err
		}
		for ; b < end; b++ {
			sealed := run[:c.plain(b)+seal.Overhead]
			run = run[len(sealed):]
			data, err := s.unseal(c.ordinal+uint64(b), sealed) //nolint:gosec // positive
			if err != nil {
				return err
			}
			if err := give(b, data); err != nil {
				return err
			}
		}
	}
	return nil
}
