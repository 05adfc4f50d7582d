package tree

import (
	"context"
	"fmt"

	"holdfast/vault/chunk"
)

// Store keeps encoded nodes.
type Store interface {
	LoadNode(ctx context.Context, id chunk.ID) ([]byte, error)
	PutNode(ctx context.Context, data []byte) (chunk.ID, error)
}

// Root names a tree over a number of chunks. The zero ID is a tree of zeros.
type Root struct {
	ID     chunk.ID
	Chunks uint64
}

// Builder makes a tree from a parent and changes that come in ascending order.
// It holds one path of nodes, whatever the size of the tree.
type Builder struct {
	st     Store
	chunks uint64
	path   []*open // from the root down
	last   uint64
	began  bool
}

type open struct {
	node
	index uint64   // place among the nodes of its level
	from  chunk.ID // what it was loaded from
	dirty bool
}

// NewBuilder begins a tree over so many chunks, equal to the parent where both
// have chunks, else zeros.
func NewBuilder(ctx context.Context, st Store, chunks uint64, parent Root) (*Builder, error) {
	b := &Builder{st: st, chunks: chunks}
	if chunks == 0 || chunks > span(MaxLevel+1) {
		return nil, fmt.Errorf("%w: %d chunks", ErrMalformed, chunks)
	}
	top, id, level := Top(chunks), parent.ID, Top(parent.Chunks)
	for ; level > top && !id.IsZero(); level-- { // the image shrank: its tree is the parent's first branch
		n, err := b.load(ctx, id, level)
		if err != nil {
			return nil, err
		}
		id = n.ids[0]
	}
	if id.IsZero() || level >= top {
		return b, b.push(ctx, top, 0, id)
	}
	count, err := b.count(ctx, id, level) // the image grew: the parent's tree is its first branch
	if err != nil {
		return nil, err
	}
	for l := top; l > level; l-- {
		o := &open{node: node{level: l}, dirty: true}
		o.counts[0] = count
		b.path = append(b.path, o)
	}
	b.path[len(b.path)-1].ids[0] = id
	return b, nil
}

// Set gives chunk i an id and returns the one it had. Each i must be larger than the last.
func (b *Builder) Set(ctx context.Context, i uint64, id chunk.ID) (chunk.ID, error) {
	if i >= b.chunks || b.began && i <= b.last {
		return chunk.ID{}, fmt.Errorf("%w: chunk %d after %d of %d", ErrMalformed, i, b.last, b.chunks)
	}
	b.last, b.began = i, true
	leaf, err := b.seek(ctx, i)
	if err != nil {
		return chunk.ID{}, err
	}
	slot := i % Fan
	old := leaf.ids[slot]
	if old != id {
		leaf.ids[slot], leaf.counts[slot], leaf.dirty = id, 1, true
		if id.IsZero() {
			leaf.counts[slot] = 0
		}
	}
	return old, nil
}

// Finish stores what is open and returns the root and the number of chunks stored below it.
func (b *Builder) Finish(ctx context.Context) (Root, uint64, error) {
	// The last path is opened, so that nothing of a larger parent stays beyond the end.
	if _, err := b.seek(ctx, b.chunks-1); err != nil {
		return Root{}, 0, err
	}
	for len(b.path) > 1 {
		if err := b.pop(ctx); err != nil {
			return Root{}, 0, err
		}
	}
	root := b.path[0]
	id, err := b.store(ctx, root)
	return Root{ID: id, Chunks: b.chunks}, root.total(), err
}

func (b *Builder) seek(ctx context.Context, i uint64) (*open, error) {
	for {
		o := b.path[len(b.path)-1]
		switch {
		case i/span(o.level+1) != o.index:
			if err := b.pop(ctx); err != nil {
				return nil, err
			}
		case o.level == 0:
			return o, nil
		default:
			child := i / span(o.level)
			if err := b.push(ctx, o.level-1, child, o.ids[child%Fan]); err != nil {
				return nil, err
			}
		}
	}
}

// push opens a node and drops what lies beyond the end of the image.
func (b *Builder) push(ctx context.Context, level int, index uint64, id chunk.ID) error {
	o := &open{node: node{level: level}, index: index, from: id}
	if !id.IsZero() {
		n, err := b.load(ctx, id, level)
		if err != nil {
			return err
		}
		o.node = *n
	}
	for i := range o.ids {
		if (index*Fan+uint64(i))*span(level) >= b.chunks && !o.ids[i].IsZero() { //nolint:gosec // below Fan
			o.ids[i], o.counts[i], o.dirty = chunk.ID{}, 0, true
		}
	}
	b.path = append(b.path, o)
	return nil
}

// pop stores the lowest open node and enters it in its parent.
func (b *Builder) pop(ctx context.Context) error {
	o := b.path[len(b.path)-1]
	b.path = b.path[:len(b.path)-1]
	id, err := b.store(ctx, o)
	if err != nil {
		return err
	}
	up, slot := b.path[len(b.path)-1], o.index%Fan
	if count := uint32(o.total()); up.ids[slot] != id || up.counts[slot] != count { //nolint:gosec // at most 256^4
		up.ids[slot], up.counts[slot], up.dirty = id, count, true
	}
	return nil
}

func (b *Builder) store(ctx context.Context, o *open) (chunk.ID, error) {
	if !o.dirty {
		return o.from, nil
	}
	if o.total() == 0 {
		return chunk.ID{}, nil
	}
	return b.st.PutNode(ctx, o.encode(nil))
}

func (b *Builder) load(ctx context.Context, id chunk.ID, level int) (*node, error) {
	return load(ctx, b.st, id, level)
}

func (b *Builder) count(ctx context.Context, id chunk.ID, level int) (uint32, error) {
	n, err := b.load(ctx, id, level)
	if err != nil {
		return 0, err
	}
	return uint32(n.total()), nil //nolint:gosec // at most 256^4
}

// loader is the reading half of Store.
type loader interface {
	LoadNode(ctx context.Context, id chunk.ID) ([]byte, error)
}

func load(ctx context.Context, st loader, id chunk.ID, level int) (*node, error) {
	data, err := st.LoadNode(ctx, id)
	if err != nil {
		return nil, err
	}
	return decode(data, level)
}
