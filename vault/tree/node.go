// Package tree is an image's Merkle tree of chunk ids: sparse, built in order, rewritten by paths.
package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"holdfast/vault/chunk"
)

// Fan is the number of children of a node.
const Fan = 256

// MaxLevel bounds a tree's height: 256^5 chunks are more than any disk has.
const MaxLevel = 4

const (
	nodeVersion = 1
	headSize    = 4 + Fan/8
	leafChild   = 32
	innerChild  = 32 + 4

	// MaxNode is the length of the longest encoded node in bytes.
	MaxNode = headSize + Fan*innerChild
)

// ErrMalformed says that a node's bytes do not follow the format.
var ErrMalformed = errors.New("malformed tree node")

// node is one node in memory. A zero id is a child of which nothing is stored:
// zeros. Counts are the chunks stored below each child; at level 0 a child is a chunk.
type node struct {
	level  int
	ids    [Fan]chunk.ID
	counts [Fan]uint32
}

func (n *node) total() uint64 {
	var sum uint64
	for _, c := range n.counts {
		sum += uint64(c)
	}
	return sum
}

// Encode returns a node of the level with these children, of which not all may be
// zero: the same bytes as a Builder's.
func Encode(level int, ids [Fan]chunk.ID, counts [Fan]uint32) []byte {
	n := node{level: level, ids: ids, counts: counts}
	return n.encode(nil)
}

// encode writes version, level, two zero bytes, the bitmap of the children that
// are there, and these in order: the id, and above level 0 the count.
func (n *node) encode(b []byte) []byte {
	var bitmap [Fan / 8]byte
	for i, id := range n.ids {
		if !id.IsZero() {
			bitmap[i/8] |= 1 << (i % 8)
		}
	}
	b = append(b, nodeVersion, byte(n.level), 0, 0) //nolint:gosec // at most MaxLevel
	b = append(b, bitmap[:]...)
	for i, id := range n.ids {
		if id.IsZero() {
			continue
		}
		b = append(b, id[:]...)
		if n.level > 0 {
			b = binary.LittleEndian.AppendUint32(b, n.counts[i])
		}
	}
	return b
}

// decode reads a node that must be of the given level.
func decode(b []byte, level int) (*node, error) {
	if len(b) < headSize || b[0] != nodeVersion || int(b[1]) != level || b[2] != 0 || b[3] != 0 {
		return nil, fmt.Errorf("%w: head", ErrMalformed)
	}
	bitmap, rest := b[4:headSize], b[headSize:]
	n, size := 0, leafChild
	for _, w := range bitmap {
		n += bits.OnesCount8(w)
	}
	if level > 0 {
		size = innerChild
	}
	if n == 0 || len(rest) != n*size {
		return nil, fmt.Errorf("%w: %d bytes for %d children", ErrMalformed, len(rest), n)
	}
	d := &node{level: level}
	for i := range Fan {
		if bitmap[i/8]>>(i%8)&1 == 0 {
			continue
		}
		d.ids[i], d.counts[i] = chunk.ID(rest[:32]), 1
		if level > 0 {
			d.counts[i] = binary.LittleEndian.Uint32(rest[32:])
		}
		if d.ids[i].IsZero() || d.counts[i] == 0 || uint64(d.counts[i]) > span(level) {
			return nil, fmt.Errorf("%w: child %d", ErrMalformed, i)
		}
		rest = rest[size:]
	}
	return d, nil
}

// span is the number of chunks below one child of a node of the level.
func span(level int) uint64 { return 1 << (8 * level) }

// Top is the level of the root of a tree over so many chunks.
func Top(chunks uint64) int {
	level := 0
	for level < MaxLevel && span(level+1) < chunks {
		level++
	}
	return level
}
