package seal

import (
	"math"

	"github.com/zeebo/blake3"
)

// Object seals a small blob whole, bound to its name.
func Object(keys Keyring, h Header, name string, plain []byte) ([]byte, error) {
	box, err := NewBox(keys, h)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, HeaderSize+len(plain)+Overhead)
	return box.Seal(h.Append(out), plain, objectFrame(name, len(plain))), nil
}

// OpenObject opens a blob made by Object, or fails with ErrHeader or ErrSealed.
func OpenObject(keys Keyring, kind Kind, name string, data []byte) ([]byte, error) {
	h, err := ParseHeader(data, kind)
	if err != nil {
		return nil, err
	}
	box, err := NewBox(keys, h)
	if err != nil {
		return nil, err
	}
	sealed := data[HeaderSize:]
	if len(sealed) < Overhead || len(sealed) > math.MaxInt32 {
		return nil, ErrSealed
	}
	return box.Open(nil, sealed, objectFrame(name, len(sealed)-Overhead))
}

func objectFrame(name string, plain int) Frame {
	return Frame{ID: NameID(name), Plain: uint32(plain)} //nolint:gosec // bounded by the callers
}

// NameID binds a payload to the name of its blob.
func NameID(name string) [32]byte { return blake3.Sum256([]byte(name)) }
