package vault

import (
	"context"
	"fmt"
	"io"
	"iter"

	"holdfast/vault/chunk"
	"holdfast/vault/tree"
)

// ImageReader reads one image. It is safe for concurrent use.
type ImageReader struct {
	v    *Vault
	ctx  context.Context //nolint:containedctx // io.ReaderAt has no place for one
	im   Image
	cs   int64
	root tree.Root
}

// OpenImage opens an image for reading, after looking at the index anew. ctx
// covers the ReadAt calls too. Nothing of the image itself is read yet.
func (v *Vault) OpenImage(ctx context.Context, im Image) (*ImageReader, error) {
	if err := v.refresh(ctx); err != nil {
		return nil, fmt.Errorf("open image %q: %w", im.Name, err)
	}
	cs := int64(v.params.ChunkSize)
	return &ImageReader{v: v, ctx: ctx, im: im, cs: cs, root: tree.Root{ID: im.Root, Chunks: chunks(im.Size, cs)}}, nil
}

// Size is the image's size in bytes.
func (r *ImageReader) Size() int64 { return r.im.Size }

// ReadAt implements io.ReaderAt. Every byte it returns is proved; what cannot be
// is a *DamagedError.
func (r *ImageReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read image %q: negative offset", r.im.Name)
	}
	n := 0
	for n < len(p) {
		if off >= r.im.Size {
			return n, io.EOF
		}
		i := uint64(off / r.cs) //nolint:gosec // positive
		in := off % r.cs
		want := min(int64(len(p)-n), r.length(i)-in)
		if err := r.readChunk(i, in, p[n:n+int(want)]); err != nil {
			return n, err
		}
		n += int(want)
		off += want
	}
	return n, nil
}

func (r *ImageReader) readChunk(i uint64, in int64, p []byte) error {
	id, err := tree.Lookup(r.ctx, nodeReader{r.v}, r.root, i)
	if err != nil {
		return r.blame(i, i+1, err)
	}
	if id.IsZero() {
		clear(p)
		return nil
	}
	plain, err := r.v.decoded.get(r.ctx, id, func() ([]byte, error) { return r.load(id) })
	if err == nil && int64(len(plain)) != r.length(i) {
		err = ErrContent
	}
	if err != nil {
		return r.blame(i, i+1, err)
	}
	copy(p, plain[in:])
	return nil
}

func (r *ImageReader) load(id chunk.ID) ([]byte, error) {
	s, err := r.v.borrow()
	if err != nil {
		return nil, err
	}
	defer r.v.scratch.Put(s)
	plain, err := r.v.fetch(r.ctx, chunk.Data, id, s)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), plain...), nil
}

// length is chunk i's, in bytes: the last may be shorter.
func (r *ImageReader) length(i uint64) int64 {
	return min(r.cs, r.im.Size-int64(i)*r.cs) //nolint:gosec // below MaxDisk
}

// blame makes damage name the bytes of the chunks from first to end.
func (r *ImageReader) blame(first, end uint64, err error) error {
	if !damage(err) {
		return fmt.Errorf("read image %q: %w", r.im.Name, err)
	}
	from := int64(first) * r.cs           //nolint:gosec // below MaxDisk
	to := min(int64(end)*r.cs, r.im.Size) //nolint:gosec // below MaxDisk
	return &DamagedError{Image: r.im.Name, Offset: from, Length: to - from, Err: err}
}

// Extents yields, in order, the ranges that hold stored chunks; all else is zeros.
func (r *ImageReader) Extents(ctx context.Context) iter.Seq2[Range, error] {
	return func(yield func(Range, error) bool) {
		var cur Range
		stop := false
		flush := func() bool { return cur.Length == 0 || yield(cur, nil) }
		err := tree.Walk(ctx, nodeReader{r.v}, r.root, 0, tree.Visitor{
			Chunk: func(i uint64, _ chunk.ID) error {
				off := int64(i) * r.cs //nolint:gosec // below MaxDisk
				if cur.Length > 0 && cur.Offset+cur.Length == off {
					cur.Length += r.length(i)
					return nil
				}
				if !flush() {
					stop = true
					return tree.ErrSkip
				}
				cur = Range{Offset: off, Length: r.length(i)}
				return nil
			},
			Lost: func(from, to uint64, err error) error { return r.blame(from, to, err) },
		})
		if stop || !flush() {
			return
		}
		if err != nil {
			yield(Range{}, err)
		}
	}
}
