package tree

import (
	"context"
	"errors"

	"holdfast/vault/chunk"
)

// ErrSkip, returned by a Visitor's Node, leaves the node's subtree out.
var ErrSkip = errors.New("skip this subtree")

// Visitor is told what a walk meets. Chunk is called for every stored chunk in
// ascending order. Node, if set, is called before a node is loaded, with the
// chunks it covers; Left, if set, when its subtree is done. Lost, if set, is called for a node that cannot be read, and
// its nil answer lets the walk go on behind it. Any other error ends the walk.
type Visitor struct {
	Chunk func(i uint64, id chunk.ID) error
	Node  func(id chunk.ID, from, to uint64) error
	Left  func(id chunk.ID, from, to uint64)
	Lost  func(from, to uint64, err error) error
}

// Walk visits the tree from chunk number from on.
func Walk(ctx context.Context, st loader, root Root, from uint64, v Visitor) error {
	if root.ID.IsZero() || root.Chunks == 0 {
		return nil
	}
	w := walker{st: st, chunks: root.Chunks, from: from, v: v}
	return w.node(ctx, root.ID, Top(root.Chunks), 0)
}

type walker struct {
	st     loader
	chunks uint64
	from   uint64
	v      Visitor
}

func (w *walker) node(ctx context.Context, id chunk.ID, level int, index uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	first := index * span(level+1)
	end := min(first+span(level+1), w.chunks)
	if end <= w.from {
		return nil
	}
	if w.v.Node != nil {
		if err := w.v.Node(id, first, end); errors.Is(err, ErrSkip) {
			return nil
		} else if err != nil {
			return err
		}
	}
	n, err := load(ctx, w.st, id, level)
	if err == nil {
		err = n.within(first, w.chunks)
	}
	if err != nil {
		if w.v.Lost != nil && ctx.Err() == nil {
			err = w.v.Lost(max(first, w.from), end, err)
			if err == nil && w.v.Left != nil {
				w.v.Left(id, first, end)
			}
		}
		return err
	}
	if err := w.children(ctx, n, index); err != nil {
		return err
	}
	if w.v.Left != nil {
		w.v.Left(id, first, end)
	}
	return nil
}

func (w *walker) children(ctx context.Context, n *node, index uint64) (err error) {
	for i, child := range n.ids {
		if child.IsZero() {
			continue
		}
		at := index*Fan + uint64(i) //nolint:gosec // below Fan
		if n.level > 0 {
			err = w.node(ctx, child, n.level-1, at)
		} else if at >= w.from {
			err = w.v.Chunk(at, child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// within refuses children beyond the end of the image.
func (n *node) within(first, chunks uint64) error {
	for i, id := range n.ids {
		if !id.IsZero() && first+uint64(i)*span(n.level) >= chunks { //nolint:gosec // below Fan
			return ErrMalformed
		}
	}
	return nil
}

// Count is the number of chunks stored from chunk number from on.
func Count(ctx context.Context, st loader, root Root, from uint64) (uint64, error) {
	if root.ID.IsZero() || root.Chunks == 0 || from >= root.Chunks {
		return 0, nil
	}
	var sum uint64
	id := root.ID
	for level := Top(root.Chunks); ; level-- {
		n, err := load(ctx, st, id, level)
		if err != nil {
			return 0, err
		}
		slot := int(from / span(level) % Fan) //nolint:gosec // below Fan
		for i := slot + 1; i < Fan; i++ {
			sum += uint64(n.counts[i])
		}
		if level == 0 {
			return sum + uint64(n.counts[slot]), nil
		}
		if id = n.ids[slot]; id.IsZero() {
			return sum, nil
		}
		if from%span(level) == 0 {
			return sum + uint64(n.counts[slot]), nil
		}
	}
}

// Lookup returns the id of chunk i; the zero ID is a chunk of zeros.
func Lookup(ctx context.Context, st loader, root Root, i uint64) (chunk.ID, error) {
	if i >= root.Chunks {
		return chunk.ID{}, ErrMalformed
	}
	id := root.ID
	for level := Top(root.Chunks); level >= 0 && !id.IsZero(); level-- {
		n, err := load(ctx, st, id, level)
		if err != nil {
			return chunk.ID{}, err
		}
		id = n.ids[i/span(level)%Fan]
	}
	return id, nil
}
