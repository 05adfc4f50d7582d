package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// Fetch reads a chunk from any place that it has, in a damaged pack too, and
// proves it.
func (in *Inspection) Fetch(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	s, err := in.v.borrow()
	if err != nil {
		return nil, err
	}
	defer in.v.scratch.Put(s)
	err = fmt.Errorf("%w: %v", ErrMissing, id)
	for info, e := range in.all(id) {
		if _, stored := in.packs[info.Name()]; e.Kind != kind || !stored {
			continue
		}
		var plain []byte
		if plain, err = in.v.fetchAt(ctx, info, e, s); err == nil {
			return bytes.Clone(plain), nil
		}
		if !damage(err) {
			return nil, err
		}
	}
	if !errors.Is(err, blob.ErrNotFound) {
		return nil, err
	}
	// The pack went since it was listed, so a collector has put the chunk elsewhere.
	plain, err := in.v.fetch(ctx, kind, id, s)
	return bytes.Clone(plain), err
}

// LoadNode reads a tree node from any place that it has, and proves it.
func (in *Inspection) LoadNode(ctx context.Context, id chunk.ID) ([]byte, error) {
	return in.Fetch(ctx, chunk.Node, id)
}

// Damaged are the stored packs, ascending, that were found damaged before.
func (in *Inspection) Damaged() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range maps.Keys(in.damaged) {
			if _, stored := in.packs[name]; stored && !yield(name) {
				return
			}
		}
	})
}

// Loose is the number of packs that no readable segment covers.
func (in *Inspection) Loose() int { return len(in.loose) }

// Uncovered are the stored packs, ascending, of which neither the index nor their
// own tables tell what is in them.
func (in *Inspection) Uncovered() []string {
	known := map[string]bool{}
	for _, part := range in.parts {
		for _, p := range part.Packs {
			known[p.Name()] = true
		}
	}
	return slices.DeleteFunc(in.Packs(), func(name string) bool { return known[name] })
}

// Gone reports whether a pack that was listed is there no more: a collection runs.
func (in *Inspection) Gone(ctx context.Context) (bool, error) {
	left := maps.Clone(in.packs)
	for info, err := range in.v.st.List(ctx, pack.Prefix) {
		if err != nil {
			return false, fmt.Errorf("list packs: %w", err)
		}
		delete(left, info.Name)
	}
	return len(left) > 0, nil
}
