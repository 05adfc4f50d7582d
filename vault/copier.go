package vault

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast/vault/chunk"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
	"holdfast/vault/tree"
)

// A copy looks up the chunks of so many bytes of disk before it reads what the
// target lacks of them, in the order in which they lie in the source's packs.
const copyWindow = 64 << 20

// copier is one try at a copy. To the target it is a writer like any other; its
// disk is another vault.
type copier struct {
	from, to *Vault
	s        *Session // at the target
	o        CopyOptions
	done     Copied

	im    Image
	refs  []ref                 // claimed at the target, to be moved
	nodes map[chunk.ID]struct{} // seen to in this session
	seen  int64                 // bytes of the images before this one
	total int64
}

func newCopier(from, to *Vault, o CopyOptions) *copier {
	return &copier{from: from, to: to, o: o, nodes: map[chunk.ID]struct{}{}}
}

// image copies what the target lacks of an image.
func (c *copier) image(ctx context.Context, base Image) error {
	cs := int64(c.from.params.ChunkSize)
	window := int(max(1, copyWindow/cs))
	err := tree.WalkSince(ctx, nodeReader{c.from}, tree.Root{ID: c.im.Root, Chunks: chunks(c.im.Size, cs)},
		nodeReader{c.to}, tree.Root{ID: base.Root, Chunks: chunks(base.Size, cs)}, tree.Visitor{
			Node: func(id chunk.ID, first, _ uint64) error { return c.node(ctx, id, int64(first)*cs) }, //nolint:gosec // below MaxDisk
			Chunk: func(i uint64, id chunk.ID) error {
				// That a node is there says nothing of what is below it: each chunk is looked up.
				if mine, err := c.s.claim(id); err != nil || !mine {
					return err
				}
				if c.refs = append(c.refs, ref{i, id}); len(c.refs) < window {
					return nil
				}
				return c.flush(ctx)
			},
		})
	if _, known := errors.AsType[*DamagedError](err); err != nil && !known && damage(err) {
		return &DamagedError{Image: c.im.Name, Length: c.im.Size, Err: err}
	}
	if err != nil {
		return err
	}
	return c.flush(ctx)
}

// node moves a node, unless the target has it, and leaves out one that another
// image of this backup has been walked through.
func (c *copier) node(ctx context.Context, id chunk.ID, offset int64) error {
	if _, ok := c.nodes[id]; ok {
		return tree.ErrSkip
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	data, err := c.from.loadNode(ctx, id) // proved, and kept for the walk
	if err != nil {
		return err
	}
	c.nodes[id] = struct{}{}
	if c.o.Progress != nil {
		c.o.Progress(c.seen+min(offset, c.im.Size), c.total, c.s.Uploaded())
	}
	if mine, err := c.s.claim(id); err != nil || !mine {
		return err
	}
	return c.s.meta.add(chunk.Node, id, chunk.Raw, data, len(data))
}

// flush moves the chunks that were claimed.
func (c *copier) flush(ctx context.Context) error {
	rs := &restore{r: &ImageReader{v: c.from, im: c.im, cs: int64(c.from.params.ChunkSize)}, refs: c.refs}
	runs, err := rs.plan(ctx)
	if err != nil {
		return err
	}
	c.refs = c.refs[:0]
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for range min(workers, len(runs)) {
		g.Go(func() error {
			sc, err := c.from.borrow()
			if err != nil {
				return err
			}
			defer c.from.scratch.Put(sc)
			m := &mover{copier: c, r: rs.r, sc: sc}
			for {
				mu.Lock()
				if len(runs) == 0 {
					mu.Unlock()
					return nil
				}
				next := runs[0]
				runs = runs[1:]
				mu.Unlock()
				if err := m.run(ctx, next); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// mover is one goroutine of a copy.
type mover struct {
	*copier

	r   *ImageReader
	sc  *scratch
	buf []byte
}

// run reads neighbours in a pack at once and moves them.
func (m *mover) run(ctx context.Context, r run) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	off, n := r.span()
	whole := false
	if r.name != "" && n <= pack.MaxSize {
		m.buf = slices.Grow(m.buf[:0], int(max(n, runBytes)))
		whole = m.from.st.ReadAt(ctx, r.name, m.buf[:n], off) == nil // else chunk by chunk, with its error
	}
	for _, p := range r.places {
		var sealed []byte
		if whole {
			at := int64(p.e.Offset) - off
			sealed = m.buf[:n][at : at+int64(p.e.Sealed)]
		}
		if err := m.chunk(ctx, r.info, p, sealed); err != nil {
			return err
		}
	}
	return nil
}

// chunk proves one chunk and seals it anew as it was compressed. What does not
// open where it was looked for is fetched from any other place.
func (m *mover) chunk(ctx context.Context, info pack.Info, p place, sealed []byte) error {
	if sealed != nil {
		plain, err := m.from.unseal(info, p.e, sealed, m.sc) // opens in place
		if err == nil {
			return m.s.data.add(chunk.Data, p.e.ID, p.e.Codec, sealed[:len(sealed)-seal.Overhead], len(plain))
		}
	}
	plain, err := m.from.fetch(ctx, chunk.Data, p.e.ID, m.sc)
	if err != nil {
		return m.r.blame(p.to[0], p.to[0]+1, err)
	}
	codec, payload := m.sc.enc.Encode(plain)
	return m.s.data.add(chunk.Data, p.e.ID, codec, payload, len(plain))
}
