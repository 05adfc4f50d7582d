package mem

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sync/atomic"

	"holdfast/disk"
)

// Snapshot is a Disk at one instant. It is a disk.Source, and safe for
// concurrent use.
type Snapshot struct {
	size   int64
	pages  map[int64]*page
	parent *Snapshot
	closed atomic.Bool
	lost   atomic.Bool
}

var _ disk.Source = (*Snapshot)(nil)

// Snapshot freezes the disk as it is. With a parent, an earlier snapshot of
// this disk, ranges not written since are Clean.
func (d *Disk) Snapshot(parent *Snapshot) *Snapshot {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return &Snapshot{size: d.size, pages: maps.Clone(d.pages), parent: parent}
}

// Lose makes every further read fail with disk.ErrPointLost.
func (s *Snapshot) Lose() { s.lost.Store(true) }

func (s *Snapshot) usable() error {
	if s.closed.Load() {
		return fs.ErrClosed
	}
	if s.lost.Load() {
		return disk.ErrPointLost
	}
	return nil
}

// Size of the disk in bytes.
func (s *Snapshot) Size() int64 { return s.size }

// ReadAt reads the bytes of the instant.
func (s *Snapshot) ReadAt(p []byte, off int64) (int, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fmt.Errorf("mem: read at %d", off)
	}
	var atEnd error
	if left := max(s.size-off, 0); int64(len(p)) > left {
		p, atEnd = p[:left], io.EOF
	}
	for done := 0; done < len(p); {
		at := off + int64(done)
		within := int(at % pageSize)
		n := min(len(p)-done, pageSize-within)
		if from := s.pages[at/pageSize]; from != nil {
			copy(p[done:done+n], from[within:])
		} else {
			clear(p[done : done+n])
		}
		done += n
	}
	return len(p), atEnd
}

// Extents covers the disk; pages never written are Zero.
func (s *Snapshot) Extents(ctx context.Context) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		// A page absent now may be present in the parent only if the disk could
		// forget pages, which it cannot: these indices are all that matter.
		next := int64(0)
		for _, index := range slices.Sorted(maps.Keys(s.pages)) {
			if err := s.check(ctx); err != nil {
				yield(disk.Extent{}, err)
				return
			}
			start := index * pageSize
			if start > next && !yield(s.hole(next, start-next), nil) {
				return
			}
			length := min(pageSize, s.size-start)
			clean := s.parent != nil && s.parent.pages[index] == s.pages[index]
			if !yield(disk.Extent{Offset: start, Length: length, Clean: clean}, nil) {
				return
			}
			next = start + length
		}
		if err := s.check(ctx); err != nil {
			yield(disk.Extent{}, err)
			return
		}
		if next < s.size {
			yield(s.hole(next, s.size-next), nil)
		}
	}
}

func (s *Snapshot) hole(offset, length int64) disk.Extent {
	return disk.Extent{Offset: offset, Length: length, Zero: true, Clean: s.parent != nil}
}

func (s *Snapshot) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.usable()
}

// Discard does nothing but check the range: a snapshot costs no copies.
func (s *Snapshot) Discard(ctx context.Context, offset, length int64) error {
	if offset < 0 || length < 0 || length > s.size-offset {
		return fmt.Errorf("mem: discard of %d bytes at %d is outside a disk of %d", length, offset, s.size)
	}
	return s.check(ctx)
}

// Close refuses further reads.
func (s *Snapshot) Close() error {
	s.closed.Store(true)
	return nil
}
