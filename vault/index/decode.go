package index

import (
	"context"
	"fmt"
	"io"

	"holdfast/vault/seal"
)

// Decode opens a whole segment in memory. maxPlain bounds the plain length of an
// entry. Anything wrong is ErrMalformed or a sealing error; memory stays within a
// small multiple of the input.
func Decode(keys seal.Keyring, name string, data []byte, maxPlain int) (*Part, error) {
	s, err := Open(context.Background(), Source{Keys: keys, Name: name, Size: int64(len(data)), MaxPlain: maxPlain,
		Read: inMemory(data), Blocks: NewBlocks(0)})
	if err != nil {
		return nil, err
	}
	return s.Part(context.Background())
}

// inMemory reads a segment that is there already.
func inMemory(data []byte) readAt {
	return func(_ context.Context, p []byte, off int64) error {
		if off < 0 || off > int64(len(data)) || copy(p, data[off:]) < len(p) {
			return fmt.Errorf("read index segment: %w", io.ErrUnexpectedEOF)
		}
		return nil
	}
}
