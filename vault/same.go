package vault

import (
	"fmt"

	"holdfast/vault/chunk"
	"holdfast/vault/tree"
)

// Same reports whether chunk i of the image, counted from 0, is exactly these
// bytes, by its id: of the image only nodes are read.
func (r *ImageReader) Same(i uint64, plain []byte) (bool, error) {
	if i >= r.root.Chunks || int64(len(plain)) != r.length(i) {
		return false, fmt.Errorf("compare image %q: %w: %d bytes as chunk %d", r.im.Name, ErrRanges, len(plain), i)
	}
	id, err := tree.Lookup(r.ctx, nodeReader{r.v}, r.root, i)
	if err != nil {
		return false, r.blame(i, i+1, err)
	}
	if chunk.IsZeros(plain) || id.IsZero() {
		return id.IsZero() && chunk.IsZeros(plain), nil
	}
	s, err := r.v.borrow()
	if err != nil {
		return false, err
	}
	defer r.v.scratch.Put(s)
	return s.hash.Sum(chunk.Data, plain) == id, nil
}
