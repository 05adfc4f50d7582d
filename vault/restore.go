package vault

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/tree"
)

// A restore takes the chunks of so many bytes of disk at a time, sorts them by
// their places and reads what lies together in one go.
const (
	windowBytes = 256 << 20
	runBytes    = 1 << 20  // read at once
	gapBytes    = 64 << 10 // read over rather than read twice
)

// RestoreOptions say how an image is to be written out.
type RestoreOptions struct {
	// From leaves out what lies before this byte: a resumed restore gives the last
	// Checkpoint.
	From int64
	// Workers decode in parallel; 0 means 2.
	Workers int
	// Progress, if set, is called in turn, with the bytes written and the bytes to
	// be written in all, zeros counting in neither.
	Progress func(done, total int64)
	// Checkpoint, if set, is called in turn when everything before the offset has
	// been given to the writer (which may still have to make it durable).
	Checkpoint func(offset int64) error
	// Damaged, if set, is told of every extent that cannot be read, and its nil
	// answer lets the restore go on without it. Otherwise the first one ends it.
	// It may be called from several goroutines, one at a time.
	Damaged func(*DamagedError) error
}

// Restore writes the image's stored chunks to w, from several goroutines. Zeros
// are not written: w must read as zeros where nothing was written. Memory stays
// under 64 MiB. Damage is a *DamagedError.
func (r *ImageReader) Restore(ctx context.Context, w io.WriterAt, o RestoreOptions) error {
	if o.Workers <= 0 {
		o.Workers = workers
	}
	if o.From < 0 {
		return fmt.Errorf("restore image %s: negative offset", r.im.Name)
	}
	if o.From >= r.im.Size {
		return nil
	}
	rs := &restore{r: r, w: w, o: o, window: int(max(1, windowBytes/r.cs)), decoders: make(chan struct{}, o.Workers)}
	return rs.run(ctx)
}

type restore struct {
	r      *ImageReader
	w      io.WriterAt
	o      RestoreOptions
	window int
	// decoders bounds how many decode at once; the others wait for the storage.
	decoders chan struct{}
	refs     []ref
	total    int64

	mu   sync.Mutex // for done and the callbacks
	done int64
}

// ref is one chunk to be written.
type ref struct {
	i  uint64
	id chunk.ID
}

func (rs *restore) run(ctx context.Context) error {
	first := uint64(rs.o.From / rs.r.cs) //nolint:gosec // positive
	count, err := tree.Count(ctx, nodeReader{rs.r.v}, rs.r.root, first)
	if err != nil && !damage(err) {
		return fmt.Errorf("restore image %s: %w", rs.r.im.Name, err)
	}
	rs.total = min(int64(count)*rs.r.cs, rs.r.im.Size) //nolint:gosec // below MaxDisk
	err = tree.Walk(ctx, nodeReader{rs.r.v}, rs.r.root, first, tree.Visitor{
		Chunk: func(i uint64, id chunk.ID) error {
			rs.refs = append(rs.refs, ref{i, id})
			if len(rs.refs) < rs.window {
				return nil
			}
			return rs.flush(ctx, int64(i+1)*rs.r.cs) //nolint:gosec // below MaxDisk
		},
		Lost: func(from, to uint64, err error) error {
			return rs.damaged(rs.r.blame(from, to, err))
		},
	})
	if err != nil {
		return err
	}
	return rs.flush(ctx, rs.r.im.Size)
}

// flush writes the collected chunks out; offset is where they end.
func (rs *restore) flush(ctx context.Context, offset int64) error {
	runs, err := rs.plan(ctx)
	if err != nil {
		return err
	}
	rs.refs = rs.refs[:0]
	next := make(chan run)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(next)
		for _, run := range runs {
			select {
			case next <- run:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(max(rs.o.Workers, blob.InFlight(rs.r.v.st)), len(runs)) {
		g.Go(func() error { return rs.work(ctx, next) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if rs.o.Checkpoint != nil {
		return rs.o.Checkpoint(min(offset, rs.r.im.Size))
	}
	return nil
}

// damaged asks whether to go on. Errors that are no damage end the restore.
func (rs *restore) damaged(err error) error {
	d, ok := err.(*DamagedError) //nolint:errorlint // made by blame, never wrapped
	if !ok || rs.o.Damaged == nil {
		return err
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.o.Damaged(d)
}

func (rs *restore) wrote(n int) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.done += int64(n)
	if rs.o.Progress != nil {
		rs.o.Progress(min(rs.done, rs.total), rs.total)
	}
}
