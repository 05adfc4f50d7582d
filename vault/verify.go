package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast/vault/chunk"
	"holdfast/vault/tree"
)

// ErrDiffers says that a disk does not hold what its image does.
var ErrDiffers = errors.New("the disk differs from the backup")

// zeroBytes is how much of a run of zeros is read at once.
const zeroBytes = 1 << 20

// VerifyOptions say how a disk is compared with an image.
type VerifyOptions struct {
	// Zero, if set, says of a range that the disk is known to read as zeros there;
	// it is not read then. It may be called from several goroutines.
	Zero func(offset, length int64) bool
	// Progress, if set, is called in turn, with the bytes of stored chunks that were
	// compared and how many there are.
	Progress func(done, total int64)
}

// Verify reads a disk and proves that it holds the image: each chunk by its id,
// and zeros between. Of the image only the tree is read. A difference is
// ErrDiffers, a tree that cannot be read a *DamagedError. What the disk has behind
// the image's end is not looked at. Memory is two chunks.
func (r *ImageReader) Verify(ctx context.Context, disk io.ReaderAt, o VerifyOptions) error {
	count, err := tree.Count(ctx, nodeReader{r.v}, r.root, 0)
	if err != nil {
		return r.blame(0, r.root.Chunks, err)
	}
	c := &comparison{r: r, disk: disk, o: o, spans: make(chan span), total: min(int64(count)*r.cs, r.im.Size)} //nolint:gosec // below MaxDisk
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(c.spans)
		return c.walk(ctx)
	})
	for range workers {
		g.Go(c.work)
	}
	return g.Wait()
}

// comparison is one Verify.
type comparison struct {
	r     *ImageReader
	disk  io.ReaderAt
	o     VerifyOptions
	spans chan span
	total int64

	mu   sync.Mutex // for done and Progress
	done int64
}

// span is a range of the disk: a chunk's, or zeros.
type span struct {
	off, length int64
	id          chunk.ID
}

func (c *comparison) walk(ctx context.Context) error {
	next := int64(0) // what lies before is compared
	err := tree.Walk(ctx, nodeReader{c.r.v}, c.r.root, 0, tree.Visitor{
		Chunk: func(i uint64, id chunk.ID) error {
			off := int64(i) * c.r.cs //nolint:gosec // below MaxDisk
			if err := c.zeros(ctx, next, off); err != nil {
				return err
			}
			next = off + c.r.length(i)
			return c.send(ctx, span{off, c.r.length(i), id})
		},
		Lost: func(from, to uint64, err error) error { return c.r.blame(from, to, err) },
	})
	if err != nil {
		return err
	}
	return c.zeros(ctx, next, c.r.im.Size)
}

func (c *comparison) zeros(ctx context.Context, from, to int64) error {
	if from >= to || c.o.Zero != nil && c.o.Zero(from, to-from) {
		return nil
	}
	for off := from; off < to; off += zeroBytes {
		n := min(zeroBytes, to-off)
		if c.o.Zero != nil && c.o.Zero(off, n) {
			continue
		}
		if err := c.send(ctx, span{off: off, length: n}); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) send(ctx context.Context, s span) error {
	select {
	case c.spans <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *comparison) work() error {
	scratch, err := c.r.v.borrow()
	if err != nil {
		return err
	}
	defer c.r.v.scratch.Put(scratch)
	buf := make([]byte, max(c.r.cs, zeroBytes))
	for s := range c.spans {
		p := buf[:s.length]
		if n, err := c.disk.ReadAt(p, s.off); n < len(p) {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: it ends at byte %d", ErrDiffers, s.off+int64(n))
			}
			return fmt.Errorf("verify image %q: %w", c.r.im.Name, err)
		}
		same := chunk.IsZeros(p)
		if !s.id.IsZero() {
			same = scratch.hash.Sum(chunk.Data, p) == s.id
		}
		if !same {
			return fmt.Errorf("verify image %q: %w between bytes %d and %d", c.r.im.Name, ErrDiffers, s.off, s.off+s.length)
		}
		if !s.id.IsZero() {
			c.tell(s.length)
		}
	}
	return nil
}

func (c *comparison) tell(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.o.Progress != nil {
		c.o.Progress(min(c.done, c.total), c.total)
	}
}
