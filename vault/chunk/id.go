// Package chunk names, compresses and checks the fixed-size pieces of a disk.
package chunk

import (
	"bytes"
	"encoding/hex"

	"github.com/zeebo/blake3"
)

// ID is the keyed BLAKE3 of a plaintext. The zero ID stands for zeros, which are never stored.
type ID [32]byte

// IsZero reports whether the id stands for a chunk of zeros.
func (id ID) IsZero() bool { return id == ID{} }

// String is the id in hexadecimal. Ids are keyed and reveal nothing of the content.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Compare orders ids by their bytes.
func (id ID) Compare(o ID) int { return bytes.Compare(id[:], o[:]) }

// Kind separates the chunks of disks from the nodes of trees: the two are named
// under different keys, so that no disk content can pass for a node.
type Kind byte

// The kinds of chunks.
const (
	Data Kind = 0
	Node Kind = 1
)

// IDKeys are the keys under which chunks are named.
type IDKeys interface {
	ChunkIDKey() [32]byte
	NodeIDKey() [32]byte
}

// Hasher computes ids. It is not safe for concurrent use.
type Hasher struct{ data, node *blake3.Hasher }

// NewHasher returns a hasher under a ring's id key.
func NewHasher(keys IDKeys) *Hasher {
	return &Hasher{data: keyed(keys.ChunkIDKey()), node: keyed(keys.NodeIDKey())}
}

func keyed(key [32]byte) *blake3.Hasher {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // only for a wrong key length, which the type excludes
	}
	return h
}

// Sum returns the id of a plaintext.
func (h *Hasher) Sum(kind Kind, plain []byte) (id ID) {
	b := h.data
	if kind == Node {
		b = h.node
	}
	b.Reset()
	_, _ = b.Write(plain) // never fails
	b.Sum(id[:0])
	return id
}

var zeros [4096]byte

// IsZeros reports whether every byte is zero.
func IsZeros(p []byte) bool {
	for len(p) > len(zeros) {
		if !bytes.Equal(p[:len(zeros)], zeros[:]) {
			return false
		}
		p = p[len(zeros):]
	}
	return bytes.Equal(p, zeros[:len(p)])
}

// ParseID reads an id from its 64 hexadecimal digits.
func ParseID(s string) (id ID, err error) {
	if len(s) != hex.EncodedLen(len(id)) {
		return ID{}, hex.ErrLength
	}
	_, err = hex.Decode(id[:], []byte(s))
	return id, err
}
