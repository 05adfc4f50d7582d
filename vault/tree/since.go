package tree

import (
	"context"
	"errors"

	"holdfast/vault/chunk"
)

// WalkSince visits what a tree has that another one, the base, has not at the
// same place: a node that both have is left out with all below it. A base of
// another height, or a node of it that cannot be read, leaves nothing out. Of the
// visitor, Node and Chunk are called; a node that cannot be read ends the walk.
func WalkSince(ctx context.Context, st loader, root Root, old loader, base Root, v Visitor) error {
	if root.ID.IsZero() || root.Chunks == 0 {
		return nil
	}
	top := Top(root.Chunks)
	if base.Chunks == 0 || Top(base.Chunks) != top {
		base.ID = chunk.ID{}
	}
	w := since{st: st, old: old, chunks: root.Chunks, v: v}
	return w.node(ctx, pair{root.ID, base.ID}, top, 0)
}

type since struct {
	st, old loader
	chunks  uint64
	v       Visitor
}

// pair is a node and what the base has at its place, zero for nothing.
type pair struct{ id, base chunk.ID }

func (w *since) node(ctx context.Context, p pair, level int, index uint64) error {
	if err := ctx.Err(); err != nil || p.id == p.base {
		return err
	}
	first := index * span(level+1)
	if err := w.v.Node(p.id, first, min(first+span(level+1), w.chunks)); errors.Is(err, ErrSkip) {
		return nil
	} else if err != nil {
		return err
	}
	n, err := load(ctx, w.st, p.id, level)
	if err == nil {
		err = n.within(first, w.chunks)
	}
	if err != nil {
		return err
	}
	old := &node{}
	if !p.base.IsZero() {
		if found, err := load(ctx, w.old, p.base, level); err == nil {
			old = found
		}
	}
	for i, child := range n.ids {
		if child.IsZero() || child == old.ids[i] {
			continue
		}
		at := index*Fan + uint64(i) //nolint:gosec // below Fan
		if level == 0 {
			err = w.v.Chunk(at, child)
		} else {
			err = w.node(ctx, pair{child, old.ids[i]}, level-1, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
