package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"syscall"
)

// A copy is the segment as it is stored, zeros up to a multiple of 64 bytes, the
// filter, and a trailer: magic, and a checksum of the filter and the segment's
// header, which no two segments share.
const (
	copyMagic   = "HFIDXCP1"
	copyTrailer = 16
)

// copied is the file of a copy. It is opened for each read: a descriptor for every
// segment of every vault would be too many.
type copied struct {
	path  string
	cache *Cache
}

var errCopy = errors.New("damaged copy of an index segment")

func filterAt(segment int64) int64 { return (segment + filterBlock - 1) / filterBlock * filterBlock }

func copySize(segment int64, entries int) int64 {
	return filterAt(segment) + int64(filterBlocks(entries))*filterBlock + copyTrailer
}

func checksum(head, filter []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(head, table), table, filter)
}

func (c *copied) open() (*os.File, error) {
	return os.OpenFile(c.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func (c *copied) readAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := c.open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	_, err = f.ReadAt(p, off)
	return err
}

// remove gives up a copy that is of no use.
func (c *copied) remove() { _ = os.Remove(c.path) } // if it stays, it is found out again

// openCopy opens the segment from its copy, and the copy's filter.
func (s *Segment) openCopy(ctx context.Context, c *copied) (*filter, error) {
	f, err := c.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	err = s.open(ctx, func(_ context.Context, p []byte, off int64) error {
		_, err := f.ReadAt(p, off)
		return err
	})
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != copySize(s.src.Size, s.Len()) {
		return nil, fmt.Errorf("%w: its size", errCopy)
	}
	m, err := mapFile(f, filterAt(s.src.Size), info.Size())
	if err != nil {
		return nil, err
	}
	return s.mapped(m)
}

// mapped takes the filter from the mapped end of a copy.
func (s *Segment) mapped(m *mapping) (*filter, error) {
	n := len(m.data) - copyTrailer
	f := &filter{data: m.data[:n], blocks: uint64(n / filterBlock), keep: m} //nolint:gosec // positive
	t := m.data[n:]
	if string(t[:8]) != copyMagic || binary.LittleEndian.Uint32(t[8:]) != m.sum(s.head[:], f.data) {
		return nil, fmt.Errorf("%w: its filter", errCopy)
	}
	return f, nil
}
