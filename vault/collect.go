package vault

import (
	"context"

	"holdfast/vault/chunk"
)

// collect takes the jobs' results in the disk's order into the tree.
func (w *imageWriter) collect(ctx context.Context) (Image, error) {
	for {
		select {
		case <-ctx.Done():
			return Image{}, ctx.Err()
		case j, ok := <-w.order:
			if !ok {
				return w.finish(ctx)
			}
			if err := w.take(ctx, j); err != nil {
				return Image{}, err
			}
		}
	}
}

func (w *imageWriter) take(ctx context.Context, j *job) error {
	var id chunk.ID
	if !j.zero {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id = <-j.result:
		}
	}
	for i := j.first; i < j.end; i++ {
		old, err := w.builder.Set(ctx, i, id)
		if err != nil {
			return err
		}
		n := min(w.cs, w.in.Size-int64(i)*w.cs) //nolint:gosec // below MaxDisk
		w.done += n
		if old != id {
			w.changed += n
		}
	}
	if w.in.Progress != nil {
		w.in.Progress(w.done, w.s.Uploaded())
	}
	return nil
}

func (w *imageWriter) finish(ctx context.Context) (Image, error) {
	if err := ctx.Err(); err != nil {
		return Image{}, err // the planner may have ended early
	}
	root, count, err := w.builder.Finish(ctx)
	if err != nil {
		return Image{}, err
	}
	im := Image{Name: w.in.Name, Size: w.in.Size, Root: root.ID, Point: w.in.Point, Chunks: count,
		Read: w.read.Load(), Changed: w.changed, Stored: w.stored.Load()}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.read += im.Read
	w.s.changed += im.Changed
	return im, nil
}
