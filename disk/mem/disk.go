// Package mem keeps disks in memory: a sparse Disk to write, and Snapshots of it
// to read, each frozen at its instant.
package mem

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"holdfast/disk"
)

// pageSize is the unit of sparseness and of change tracking, in bytes.
const pageSize = 64 << 10

// page is never changed once it is in a map, so snapshots share pages with the
// disk, and equal pointers prove equal bytes.
type page [pageSize]byte

// Disk is a sparse disk in memory. It is a disk.Sink, and safe for concurrent
// use.
type Disk struct {
	size int64

	mu     sync.RWMutex
	pages  map[int64]*page // by index; absent pages are zeros
	limit  int64           // in bytes, 0: none
	closed bool
}

var _ disk.Sink = (*Disk)(nil)

// New is a disk of size bytes, all zeros.
func New(size int64) *Disk {
	return &Disk{size: size, pages: make(map[int64]*page)}
}

// SetLimit makes writes fail with disk.ErrNoSpace that would need more than
// limit bytes of memory, counted in pages of 64 KiB; 0 lifts the limit.
func (d *Disk) SetLimit(limit int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = limit
}

// Size of the disk in bytes.
func (d *Disk) Size() int64 { return d.size }

// WriteAt writes all of p or, with an error, a prefix of it.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > d.size-off {
		return 0, fmt.Errorf("mem: write of %d bytes at %d is outside a disk of %d", len(p), off, d.size)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, fs.ErrClosed
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		index, within := at/pageSize, int(at%pageSize)
		next := new(page)
		if old := d.pages[index]; old != nil {
			*next = *old
		} else if d.limit > 0 && int64(len(d.pages)+1)*pageSize > d.limit {
			return done, fmt.Errorf("mem: %w", disk.ErrNoSpace)
		}
		done += copy(next[within:], p[done:])
		d.pages[index] = next
	}
	return done, nil
}

// Sync does nothing: memory is as durable as it gets.
func (d *Disk) Sync(ctx context.Context) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return fs.ErrClosed
	}
	return ctx.Err()
}

// Close refuses further writes. The content stays, for Snapshot.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}
