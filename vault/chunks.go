package vault

import (
	"context"
	"errors"
	"fmt"

	"holdfast/vault/chunk"
	"holdfast/vault/keys"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
	"holdfast/vault/tree"
)

const (
	maxBoxes  = 1024
	nodeBytes = 4 << 20 // of tree nodes that were read last
)

// scratch is what one goroutine needs to encode and decode chunks.
type scratch struct {
	hash   *chunk.Hasher
	enc    *chunk.Encoder
	dec    *chunk.Decoder
	sealed []byte
	plain  []byte
	err    error // of its making, reported at its first use
}

func newScratch(ring keys.Ring, chunkSize int) *scratch {
	size := max(chunkSize, tree.MaxNode)
	s := &scratch{hash: chunk.NewHasher(ring), plain: make([]byte, size+chunk.Slack)}
	s.dec, s.err = chunk.NewDecoder(size)
	if s.err == nil {
		s.enc, s.err = chunk.NewEncoder(size)
	}
	return s
}

// maxPlain bounds the plaintext of any chunk.
func (v *Vault) maxPlain() int { return max(v.params.ChunkSize, tree.MaxNode) }

// borrow takes a scratch, to be given back by v.scratch.Put.
func (v *Vault) borrow() (*scratch, error) {
	s := v.scratch.Get().(*scratch)
	return s, s.err
}

func (v *Vault) box(p pack.Info) (*seal.Box, error) {
	if b, ok := v.boxes.Get(p.Salt); ok {
		return b, nil
	}
	b, err := seal.NewBox(v.ring, p.Header())
	if err != nil {
		return nil, err
	}
	v.boxes.Put(p.Salt, b, 1)
	return b, nil
}

// unseal opens sealed bytes in place and proves that they are the chunk's. The
// result may lie in sealed or in the scratch.
func (v *Vault) unseal(p pack.Info, e pack.Entry, sealed []byte, s *scratch) ([]byte, error) {
	box, err := v.box(p)
	if err != nil {
		return nil, err
	}
	if !e.Valid(v.maxPlain()) {
		return nil, fmt.Errorf("%s: %w", p.Name(), pack.ErrMalformed)
	}
	payload, err := box.Open(sealed[:0], sealed, e.Frame())
	if err != nil {
		return nil, fmt.Errorf("%s at %d: %w", p.Name(), e.Offset, err)
	}
	plain, err := s.dec.Decode(s.plain, e.Codec, payload, int(e.Plain))
	if err != nil {
		return nil, fmt.Errorf("%s at %d: %w", p.Name(), e.Offset, err)
	}
	if s.hash.Sum(e.Kind, plain) != e.ID {
		return nil, fmt.Errorf("%s at %d: %w", p.Name(), e.Offset, ErrContent)
	}
	return plain, nil
}

// fetch reads one chunk from any of its places. The result lies in the scratch.
func (v *Vault) fetch(ctx context.Context, kind chunk.Kind, id chunk.ID, s *scratch) ([]byte, error) {
	if p, ok := v.near.find(kind, id); ok {
		if plain, err := v.fetchAt(ctx, p.Pack, p.Entry, s); err == nil {
			return plain, nil
		}
	}
	plain, err := v.fetchKnown(ctx, kind, id, s)
	for _, again := range []func(context.Context) error{v.refresh, v.rescue} {
		if err == nil || !damage(err) {
			break
		}
		// The chunk may have moved to another pack since the index was read, or its
		// segment may be lost.
		if aerr := again(ctx); aerr != nil {
			return nil, errors.Join(err, aerr)
		}
		plain, err = v.fetchKnown(ctx, kind, id, s)
	}
	return plain, err
}

func (v *Vault) fetchKnown(ctx context.Context, kind chunk.Kind, id chunk.ID, s *scratch) ([]byte, error) {
	err := fmt.Errorf("%w: %v", ErrMissing, id)
	for p, perr := range v.places(ctx, kind, id) {
		if perr != nil {
			return nil, perr
		}
		var plain []byte
		if plain, err = v.fetchAt(ctx, p.Pack, p.Entry, s); err == nil {
			v.learn(ctx, p)
			return plain, nil
		}
		if !damage(err) {
			return nil, err
		}
	}
	return nil, err
}

func (v *Vault) fetchAt(ctx context.Context, p pack.Info, e pack.Entry, s *scratch) ([]byte, error) {
	if !e.Valid(v.maxPlain()) {
		return nil, fmt.Errorf("%s: %w", p.Name(), pack.ErrMalformed)
	}
	if cap(s.sealed) < int(e.Sealed) {
		s.sealed = make([]byte, v.maxPlain()+seal.Overhead)
	}
	sealed := s.sealed[:e.Sealed]
	if err := v.st.ReadAt(ctx, p.Name(), sealed, int64(e.Offset)); err != nil {
		return nil, err
	}
	return v.unseal(p, e, sealed, s)
}

// LoadNode implements the tree's reading: nodes are small and read again and
// again, so the last ones are kept.
func (v *Vault) loadNode(ctx context.Context, id chunk.ID) ([]byte, error) {
	if data, ok := v.nodes.Get(id); ok {
		return data, nil
	}
	s, err := v.borrow()
	if err != nil {
		return nil, err
	}
	defer v.scratch.Put(s)
	plain, err := v.fetch(ctx, chunk.Node, id, s)
	if err != nil {
		return nil, err
	}
	data := append([]byte(nil), plain...)
	v.nodes.Put(id, data, int64(cap(data)))
	return data, nil
}

// nodeReader shows a vault's nodes to package tree.
type nodeReader struct{ v *Vault }

// LoadNode returns an encoded node, proved to be the one its id names.
func (r nodeReader) LoadNode(ctx context.Context, id chunk.ID) ([]byte, error) {
	return r.v.loadNode(ctx, id)
}
