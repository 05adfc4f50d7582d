package backup

import (
	"context"
	"fmt"
	"iter"

	"holdfast/disk"
)

// span is a row of chunks, [first, end).
type span struct{ first, end uint64 }

// measure finds how much there is to do, so that the progress is honest, releases
// what will not be read, and looks at a sample of that.
func (b *attempt) measure(ctx context.Context, k *brake) (pieces, error) {
	work, err := b.pieces(ctx)
	if err != nil {
		return nil, err
	}
	s, err := b.draw(ctx)
	if err != nil {
		return nil, err
	}
	for i := range work {
		w := &work[i]
		if err := b.open(ctx, w.name, func(src disk.Source) (err error) {
			if w.sampled, err = b.pick(ctx, s, *w, src); err != nil {
				return err
			}
			return b.survey(ctx, w, src)
		}); err != nil {
			return nil, err
		}
	}
	// Only when all is released, for the guest does not wait for it.
	return work, b.look(ctx, s, work, k)
}

// survey counts what is to be read of a disk and releases the rest but for the
// sample.
func (b *attempt) survey(ctx context.Context, w *piece, src disk.Source) error {
	for e, err := range w.extents(ctx, src) {
		if err != nil {
			return err
		}
		if !e.Clean && !e.Zero {
			w.bytes += e.Length
		}
	}
	kept := w.sampled
	for c, err := range wholeChunks(w.extents(ctx, src), b.chunk(), w.size) {
		if err != nil {
			return err
		}
		for ; len(kept) > 0 && kept[0] < c.end; kept = kept[1:] {
			if err := b.release(ctx, src, span{c.first, kept[0]}); err != nil {
				return err
			}
			c.first = kept[0] + 1
		}
		if err := b.release(ctx, src, c); err != nil {
			return err
		}
	}
	return nil
}

// release says of clean chunks that they will not be read, so that no copy is kept
// of what the guest overwrites there.
func (b *attempt) release(ctx context.Context, src disk.Source, c span) error {
	if c.first >= c.end {
		return nil
	}
	from, to := int64(c.first)*b.chunk(), min(int64(c.end)*b.chunk(), src.Size()) //nolint:gosec // within the disk
	if err := src.Discard(ctx, from, to-from); err != nil {
		return fmt.Errorf("backup: release: %w", err)
	}
	return nil
}

// chunk is the vault's chunk size in bytes.
func (b *attempt) chunk() int64 { return int64(b.vault.Params().ChunkSize) }

// wholeChunks are the chunks, cs bytes each and the last one shorter, that are clean
// from end to end. One that is changed in part is read whole.
func wholeChunks(extents iter.Seq2[disk.Extent, error], cs, size int64) iter.Seq2[span, error] {
	return func(yield func(span, error) bool) {
		var from, to int64 // what is clean without a gap
		end := func() bool {
			c := span{uint64((from + cs - 1) / cs), uint64(to / cs)} //nolint:gosec // not negative
			if to == size {
				c.end = uint64((to + cs - 1) / cs) //nolint:gosec // not negative
			}
			return c.first >= c.end || yield(c, nil)
		}
		for e, err := range extents {
			switch {
			case err != nil:
				yield(span{}, err)
				return
			case !e.Clean:
				continue
			case e.Offset != to && !end():
				return
			case e.Offset != to:
				from = e.Offset
			}
			to = e.End()
		}
		end()
	}
}
