package qemu

import "math/bits"

// bitset has a bit for each granule of a disk.
type bitset struct{ words []uint64 }

func newBitset(n int64) *bitset { return &bitset{make([]uint64, (n+63)/64)} }

func (b *bitset) get(i int64) bool { return b.words[i/64]>>(i%64)&1 != 0 }

// set sets [from, to).
func (b *bitset) set(from, to int64) {
	for i := from; i < to; {
		if i%64 == 0 && to-i >= 64 {
			b.words[i/64] = ^uint64(0)
			i += 64
			continue
		}
		b.words[i/64] |= 1 << (i % 64)
		i++
	}
}

// any says whether one of [from, to) is set.
func (b *bitset) any(from, to int64) bool {
	return from < to && (b.get(from) || b.next(from, to) < to)
}

// next is the first index after i, at most end, whose bit is not that of i.
func (b *bitset) next(i, end int64) int64 {
	flip := uint64(0)
	if b.get(i) {
		flip = ^uint64(0)
	}
	w := (b.words[i/64] ^ flip) >> (i % 64)
	if w != 0 {
		return min(i+int64(bits.TrailingZeros64(w)), end)
	}
	for i = (i/64 + 1) * 64; i < end; i += 64 {
		if w := b.words[i/64] ^ flip; w != 0 {
			return min(i+int64(bits.TrailingZeros64(w)), end)
		}
	}
	return end
}
