package vault

import (
	"context"
	"fmt"
	"iter"

	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/pack"
)

// A table of contents is read to find a chunk's neighbours only if it is of at
// most so many chunks.
const maxTable = 1 << 12

// places yields the places of a chunk. Damaged segments are given up. A segment
// that cannot be read for now is an error, the last to come: it may be the one that
// has the chunk.
func (v *Vault) places(ctx context.Context, kind chunk.Kind, id chunk.ID) iter.Seq2[index.Place, error] {
	return func(yield func(index.Place, error) bool) {
		var unread error
		for p, err := range v.current().All(ctx, id) {
			switch {
			case err != nil && damage(err):
				v.discard(err)
			case err != nil:
				unread = err
			case p.Entry.Kind == kind && !yield(p, nil):
				return
			}
		}
		if unread != nil {
			yield(index.Place{}, fmt.Errorf("read index: %w", unread))
		}
	}
}

// locate returns the likeliest place of a chunk, if it has one.
func (v *Vault) locate(ctx context.Context, kind chunk.Kind, id chunk.ID) (p index.Place, found bool, err error) {
	if p, ok := v.near.find(kind, id); ok {
		return p, true, nil
	}
	for p, err := range v.places(ctx, kind, id) {
		if err != nil {
			return index.Place{}, false, err
		}
		v.learn(ctx, p)
		if near, ok := v.near.find(kind, id); ok {
			return near, true, nil
		}
		return p, true, nil
	}
	return index.Place{}, false, nil
}

// learn reads the table of contents of a pack that was found in the storage's own
// index: what lies next to each other on a disk lies next to each other in packs,
// so the next chunks need no block of the index. Where that fails they need one.
func (v *Vault) learn(ctx context.Context, p index.Place) {
	if !p.Far || p.Pack.Count > maxTable {
		return
	}
	entries, err := pack.KnownTOC(ctx, v.st, v.ring, p.Pack, v.maxPlain())
	if err == nil {
		v.near.add(index.NewPart([]index.Contents{{Info: p.Pack, Entries: entries}}))
	}
}
