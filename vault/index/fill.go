package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Filled reports whether lookups of unknown chunks are cheap: there is a filter.
func (s *Segment) Filled() bool { return s.filter.Load() != nil }

// Fill reads the whole segment once, proves it, and makes lookups cheap: by a copy
// on this machine if there is a Cache with room for it, else by a filter alone, if
// the caller has the memory for it: two bytes an entry.
func (s *Segment) Fill(ctx context.Context, memory bool) error {
	return s.fill(ctx, s.src.Read, memory)
}

// OpenFrom opens a segment, and fills it, from the bytes that were just stored.
func OpenFrom(src Source, data []byte) (*Segment, error) {
	s := &Segment{src: src}
	if err := s.open(context.Background(), inMemory(data)); err != nil {
		return nil, fmt.Errorf("%s: %w", src.Name, err)
	}
	return s, s.fill(context.Background(), inMemory(data), true)
}

func (s *Segment) fill(ctx context.Context, read readAt, memory bool) error {
	if s.Filled() {
		return nil
	}
	out := io.Discard
	part := s.src.Cache.begin(s)
	if part != nil {
		defer part.end()
		out = part
	} else if !memory {
		return nil
	}
	f := newFilter(s.Len())
	err := s.scan(ctx, read, out, func(data []byte) error {
		f.addAll(data)
		return nil
	}, func(data []byte) error {
		_, err := decodePacks(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.src.Name, err)
	}
	if part != nil && part.publish(ctx, s, f) {
		return nil
	}
	if memory {
		s.filter.Store(f)
	}
	return nil
}

// part is a copy in the making. Its errors are told at its end only, for a full or
// failing disk must not keep anybody from reading the vault.
type part struct {
	c    *copied
	f    *os.File
	path string
	err  error
}

// begin returns nil if there is no room, or if another process makes this copy.
// Whoever dies leaves a file that the next one begins anew.
func (c *Cache) begin(s *Segment) *part {
	if c == nil || c.used.Load()+copySize(s.src.Size, s.Len()) > c.limit {
		return nil
	}
	p := &part{c: &copied{c.path(s.src.Name), c}}
	p.path = p.c.path + partSuffix
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil
	}
	p.f = f
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || !p.still() || f.Truncate(0) != nil {
		_ = f.Close() // nothing was written
		return nil
	}
	return p
}

// still reports whether the locked file is the one of that name: its last writer
// may have published it meanwhile.
func (p *part) still() bool {
	mine, err := p.f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(p.path)
	return err == nil && os.SameFile(mine, named)
}

// Write implements io.Writer, and never fails.
func (p *part) Write(data []byte) (int, error) {
	if p.err == nil {
		_, p.err = p.f.Write(data)
	}
	return len(data), nil
}

// publish adds the filter, names the file, and opens it as anybody would.
func (p *part) publish(ctx context.Context, s *Segment, f *filter) bool {
	end := make([]byte, copyTrailer)
	copy(end, copyMagic)
	binary.LittleEndian.PutUint32(end[8:], checksum(s.head[:], f.data))
	_, _ = p.Write(make([]byte, filterAt(s.src.Size)-s.src.Size))
	_, _ = p.Write(f.data)
	_, _ = p.Write(end)
	if p.err != nil || !p.still() || os.Rename(p.path, p.c.path) != nil {
		return false
	}
	p.path = ""
	p.c.cache.used.Add(copySize(s.src.Size, s.Len()))
	opened := &Segment{src: s.src}
	mapped, err := opened.openCopy(ctx, p.c)
	if err != nil || !sameBytes(opened, s) {
		p.c.remove()
		return false
	}
	s.copy.Store(p.c)
	s.filter.Store(mapped)
	return true
}

// sameBytes: the salts are random, so equal headers are those of one segment.
func sameBytes(a, b *Segment) bool { return a.head == b.head && a.l == b.l }

// end closes the file, and removes it if it was not published; what stays is begun
// anew, or cleaned.
func (p *part) end() {
	if p.path != "" {
		_ = os.Remove(p.path)
	}
	_ = p.f.Close()
}
