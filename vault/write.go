package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"holdfast/vault/chunk"
	"holdfast/vault/manifest"
	"holdfast/vault/tree"
)

// Range is a part of a disk, in bytes.
type Range struct {
	Offset int64
	Length int64
	Zero   bool // known to read as zeros: not read
}

// Parent names the image of an earlier backup that an incremental begins from.
type Parent struct {
	Backup string
	Image  string
}

// ImageInput is one disk to be written.
type ImageInput struct {
	Name string
	Size int64 // bytes, above 0
	// Point is the caller's name of the point that change tracking began at; it
	// comes back in the manifest.
	Point string
	// Parent, if set, gives the content outside Ranges; without it that is zeros.
	// A parent that is not there any more is ErrNoBackup.
	Parent *Parent
	// Read is read in whole chunks, by several goroutines. A chunk that a range
	// covers in part is read whole.
	Read io.ReaderAt
	// Ranges, ascending, are what must be read (or is zero). Those to be read may
	// overlap each other; a range of zeros overlaps none. When the size differs from
	// the parent's, the chunk at the shorter one's end is read besides.
	Ranges iter.Seq2[Range, error]
	// Progress, if set, is called in turn, with the bytes processed of this image
	// and the bytes the whole session has uploaded.
	Progress func(processed, uploaded int64)
	// Durable, if set, is called with each range that was read and needs not be
	// read again by this session, whatever happens to it: it is in a pack that is
	// stored, or zeros. Calls come in no order and may come at once; one for each
	// range is not promised.
	Durable func(offset, length int64)
}

// WriteImage stores one disk's content and returns its description, for the
// manifest. After a failed read of the source, or of a damaged parent
// (*DamagedError), the session can go on; other failures end it.
func (s *Session) WriteImage(ctx context.Context, in ImageInput) (Image, error) {
	w, err := s.newImageWriter(ctx, in)
	if err != nil {
		return Image{}, fmt.Errorf("write image %s: %w", in.Name, err)
	}
	im, err := w.run(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("write image %s: %w", in.Name, err)
	}
	return im, nil
}

// imageWriter runs one WriteImage: a planner cuts the ranges into jobs, readers
// read, hash, compress and seal chunks, and a collector takes the results in the
// disk's order into the tree.
type imageWriter struct {
	s       *Session
	in      ImageInput
	cs      int64
	plan    planner
	builder *tree.Builder
	tokens  chan struct{} // at most so many compute at once

	jobs  chan *job // to the readers
	order chan *job // to the collector

	read    atomic.Int64
	stored  atomic.Int64
	changed int64
	done    int64
}

// job is one chunk to be read, or a run of chunks known to be zeros.
type job struct {
	first, end uint64 // chunk numbers
	zero       bool
	result     chan chunk.ID
}

func (s *Session) newImageWriter(ctx context.Context, in ImageInput) (*imageWriter, error) {
	if in.Size <= 0 || in.Size > manifest.MaxDisk || in.Name == "" {
		return nil, fmt.Errorf("%w: size %d", ErrRanges, in.Size)
	}
	cs := int64(s.v.params.ChunkSize)
	w := &imageWriter{s: s, in: in, cs: cs, tokens: make(chan struct{}, workers),
		jobs: make(chan *job), order: make(chan *job, 8*workers)}
	var parent Image
	if in.Parent != nil {
		var err error
		if parent, err = s.parent(ctx, *in.Parent); err != nil {
			return nil, err
		}
	}
	w.plan = newPlanner(cs, in.Size, parent.Size, in.Parent != nil)
	var err error
	w.builder, err = tree.NewBuilder(ctx, w, chunks(in.Size, cs), tree.Root{ID: parent.Root, Chunks: chunks(parent.Size, cs)})
	return w, w.blame(err)
}

func (s *Session) parent(ctx context.Context, p Parent) (Image, error) {
	// What is inherited is not looked up chunk by chunk, so the parent itself must stand.
	m, err := s.v.Adopt(ctx, p.Backup)
	if err != nil {
		return Image{}, fmt.Errorf("parent: %w", err)
	}
	im, ok := m.Image(p.Image)
	if !ok {
		return Image{}, fmt.Errorf("parent: %w: backup %s has no image %q", ErrNoBackup, p.Backup, p.Image)
	}
	return im, nil
}

func chunks(size, cs int64) uint64 {
	return uint64((size + cs - 1) / cs) //nolint:gosec // sizes are positive
}

// LoadNode implements tree.Store.
func (w *imageWriter) LoadNode(ctx context.Context, id chunk.ID) ([]byte, error) {
	return w.s.v.loadNode(ctx, id)
}

// PutNode implements tree.Store. Nodes are mostly ids, which no compression
// shortens.
func (w *imageWriter) PutNode(_ context.Context, data []byte) (chunk.ID, error) {
	sc, err := w.s.v.borrow()
	if err != nil {
		return chunk.ID{}, err
	}
	defer w.s.v.scratch.Put(sc)
	id := sc.hash.Sum(chunk.Node, data)
	if mine, err := w.s.claim(id); err != nil || !mine {
		return id, err
	}
	w.stored.Add(int64(len(data)))
	err = w.s.meta.add(chunk.Node, id, chunk.Raw, data, len(data))
	if err != nil {
		w.s.fail(err)
	}
	return id, err
}

func (w *imageWriter) run(ctx context.Context) (Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.s.ctx, cancel)()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(w.jobs)
		defer close(w.order)
		return w.plan.run(w.in.Ranges, func(j *job) error { return w.send(ctx, j) })
	})
	// Twice as many readers as may compute: some wait for the source meanwhile.
	for range 2 * workers {
		g.Go(func() error { return w.readAll(ctx) })
	}
	var im Image
	g.Go(func() (err error) {
		im, err = w.collect(ctx)
		return w.blame(err)
	})
	err := g.Wait()
	if cause := context.Cause(w.s.ctx); cause != nil {
		err = cause
	}
	return im, err
}

func (w *imageWriter) send(ctx context.Context, j *job) error {
	select {
	case w.order <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	if j.zero {
		return nil
	}
	select {
	case w.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *imageWriter) readAll(ctx context.Context) error {
	buf := make([]byte, w.cs)
	for j := range w.jobs {
		off := int64(j.first) * w.cs //nolint:gosec // below MaxDisk
		p := buf[:min(w.cs, w.in.Size-off)]
		if n, err := w.in.Read.ReadAt(p, off); n < len(p) {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read source at byte %d: %w", off, err)
		}
		w.read.Add(int64(len(p)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		id, at, err := w.store(p)
		if err != nil {
			// The chunk is claimed and will not come: the session must not commit.
			w.s.fail(err)
			return err
		}
		j.result <- id
		w.tell(off, int64(len(p)), at)
	}
	return nil
}

// store names a chunk and, unless the vault has it, compresses and packs it.
func (w *imageWriter) store(p []byte) (chunk.ID, settled, error) {
	w.tokens <- struct{}{}
	defer func() { <-w.tokens }()
	if chunk.IsZeros(p) {
		return chunk.ID{}, settled{durable: true}, nil
	}
	sc, err := w.s.v.borrow()
	if err != nil {
		return chunk.ID{}, settled{}, err
	}
	defer w.s.v.scratch.Put(sc)
	id := sc.hash.Sum(chunk.Data, p)
	if mine, err := w.s.claim(id); err != nil || !mine {
		return id, settled{durable: err == nil && w.s.indexed(id)}, err
	}
	codec, payload := sc.enc.Encode(p)
	w.stored.Add(int64(len(payload)))
	nth, err := w.s.data.put(chunk.Data, id, codec, payload, len(p))
	return id, settled{pack: nth}, err
}

// blame turns a node that cannot be read into damage of the parent, unless it was
// taken away by right: the parent was deleted, or a collector has ended this session.
func (w *imageWriter) blame(err error) error {
	if err == nil || !damage(err) {
		return err
	}
	switch gone := w.s.v.tombstoned(w.s.ctx, w.in.Parent.Backup, w.s.id); {
	case errors.Is(gone, ErrDeleted):
		return fmt.Errorf("parent: %w: %w", ErrNoBackup, gone)
	case errors.Is(gone, ErrSessionLost):
		return gone
	}
	return &DamagedError{Image: w.in.Parent.Backup + "/" + w.in.Parent.Image, Length: w.in.Size, Err: err}
}
