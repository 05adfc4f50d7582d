// Package partition moves the end of a disk's last partition outwards when the
// disk was copied to a larger one: GPT (UEFI 2.10, chapter 5) and the primary
// partitions of an MBR, with sectors of 512 bytes.
//
// Tables are a guest's to write, so everything in them is doubted: whatever is
// not exactly as it should be is left as it is. File systems are never touched:
// a guest grows its own, and a host that did it would run code on a guest's data.
package partition

import (
	"errors"
	"fmt"
	"io"
)

const (
	sector = 512
	// align is what a partition's end is rounded down to, in sectors: 1 MiB, as
	// partitioning programs do.
	align = 2048
)

// Change is what makes the room of a larger disk usable.
type Change struct {
	// Writes to the larger disk, which holds the smaller one's bytes and then
	// zeros. None overlaps another; making them twice is harmless.
	Writes []Write
	// Partition is the number of the one that grows, from 1; 0 for none.
	Partition int
	// Bytes that it grows by.
	Bytes int64
	// Why no partition grows, a sentence for people; "" when one does.
	Why string
}

// Write is bytes for an offset.
type Write struct {
	Offset int64
	Data   []byte
}

// Grow plans the change for a disk of was bytes, read from r, that gets now
// bytes. It is pure, so a successor plans the same. Only reading fails.
func Grow(r io.ReaderAt, was, now int64) (Change, error) {
	if was < 64*sector || was%sector != 0 || now%sector != 0 || now < was+align*sector {
		return left("The disk has not grown by enough for a partition to grow."), nil
	}
	head, err := read(r, 0, 2*sector)
	if err != nil {
		return Change{}, err
	}
	m, why := parseMBR(head[:sector], was/sector)
	switch {
	case why != "":
		return left(why), nil
	case m.protective():
		return growGPT(r, m, was/sector, now/sector)
	}
	return m.grow(now / sector), nil
}

func left(why string) Change { return Change{Why: why} }

func read(r io.ReaderAt, off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	k, err := r.ReadAt(b, off)
	if k == n {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("partition: read %d bytes at %d: %w", n, off, err)
}

// rounded is the last sector of a partition that may end at last.
func rounded(last int64) int64 { return (last+1)/align*align - 1 }
