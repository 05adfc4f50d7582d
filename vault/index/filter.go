package index

import (
	"encoding/binary"
	"math/bits"
	"runtime"

	"holdfast/vault/chunk"
)

// filter is a Bloom filter in blocks of one cache line (Putze, Sanders, Singler:
// Cache-, Hash- and Space-Efficient Bloom Filters, 2007): with 16 bits an entry
// and 8 probes about one chunk in a thousand that is not there passes. Ids are
// keyed hashes, so their own bits serve as hash values.
type filter struct {
	data   []byte
	blocks uint64
	keep   *mapping // of the file that data lies in, if any
}

const (
	filterBlock   = 64 // bytes
	filterEntries = 32 // in a block
)

func filterBlocks(entries int) int { return entries/filterEntries + 1 }

func newFilter(entries int) *filter {
	n := filterBlocks(entries)
	return &filter{data: make([]byte, n*filterBlock), blocks: uint64(n)} //nolint:gosec // positive
}

// at is the block of an id, and the eight bits of it there, nine for each.
func (f *filter) at(id *chunk.ID) (line []byte, low, high uint64) {
	b, _ := bits.Mul64(binary.LittleEndian.Uint64(id[8:]), f.blocks)
	return f.data[b*filterBlock:][:filterBlock], binary.LittleEndian.Uint64(id[16:]), binary.LittleEndian.Uint64(id[24:])
}

func (f *filter) add(id *chunk.ID) {
	line, low, high := f.at(id)
	for range 4 {
		line[low>>3&63] |= 1 << (low & 7)
		line[high>>3&63] |= 1 << (high & 7)
		low, high = low>>9, high>>9
	}
}

func (f *filter) has(id *chunk.ID) bool {
	line, low, high := f.at(id)
	ok := true
	for range 4 {
		ok = line[low>>3&63]>>(low&7)&1 != 0 && line[high>>3&63]>>(high&7)&1 != 0
		if !ok {
			break
		}
		low, high = low>>9, high>>9
	}
	runtime.KeepAlive(f.keep)
	return ok
}

// addAll adds the ids of a block of entries.
func (f *filter) addAll(entries []byte) {
	for ; len(entries) > 0; entries = entries[entrySize:] {
		f.add((*chunk.ID)(entries))
	}
}
