// Package disk describes a virtual disk at one point in time, as something to
// read (Source) or to fill (Sink), whatever lies beneath it: a file, an NBD
// export of a running hypervisor, or memory.
//
// Offsets and lengths are bytes. A disk's size never changes while it is open.
package disk

import (
	"context"
	"errors"
	"io"
	"iter"
)

// ErrPointLost says that the point in time behind a Source no longer exists:
// what is read from now on could be of another instant, so nothing read since
// it was taken may be used. It is never a hole and never worth a retry.
var ErrPointLost = errors.New("disk: the point in time is lost")

// ErrNoSpace says that what lies beneath a Sink is full.
var ErrNoSpace = errors.New("disk: no space left")

// Extent is a range of a disk, [Offset, Offset+Length).
type Extent struct {
	Offset int64
	Length int64
	// Zero is true when the range is known to read as zeros.
	Zero bool
	// Clean is true when the range is known to be equal to the parent point in
	// time, and to be zeros where the disk was smaller then. A Source without a
	// parent never sets it.
	Clean bool
}

// End is the offset behind the extent.
func (e Extent) End() int64 { return e.Offset + e.Length }

// Source is one disk at one point in time. It is safe for concurrent use.
type Source interface {
	// ReaderAt reads the bytes of the point in time. A lost point in time is
	// ErrPointLost.
	io.ReaderAt
	// Size of the disk in bytes.
	Size() int64
	// Extents covers [0, Size) in ascending order without gaps or overlaps.
	// Iteration ends after the first error.
	Extents(ctx context.Context) iter.Seq2[Extent, error]
	// Discard says that the range will not be read again, so that no copy of
	// it need be kept for this Source. Reading it afterwards is an error.
	Discard(ctx context.Context, offset, length int64) error
	io.Closer
}

// Releaser is a Source that keeps copies of what is overwritten until it was
// read, and may run short of space for them.
type Releaser interface {
	Source
	// Release says that the range was read and stored: it is read again only by
	// a reader who begins anew. The Source may discard it when space runs short,
	// whereupon such a reader finds the point in time lost.
	Release(offset, length int64)
}

// Sink is a disk being filled. It starts as zeros. It is safe for concurrent
// use on ranges that do not overlap.
type Sink interface {
	io.WriterAt
	// Size of the disk in bytes.
	Size() int64
	// Sync makes everything written so far durable.
	Sync(ctx context.Context) error
	// Close releases the sink; it does not imply Sync.
	io.Closer
}
