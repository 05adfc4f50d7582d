package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// kind is what a file of the disk is like. The ratios are of zstd's fastest
// level on pieces of 256 KiB; TestContent holds them.
type kind int

const (
	code    kind = iota // a program: skewed instructions, operands, repeated runs; 0.49
	text                // words by Zipf's law and repeated phrases; 0.27
	records             // pages of a database: keys, times, names, random values; 0.35
	noise               // compressed or encrypted already; 1
	zeros               // written, not a hole
)

// fill makes a piece of a file: the same for the same kind and seed.
func (k kind) fill(p []byte, seed uint64) {
	d := dice(seed)
	switch k {
	case code:
		fillCode(p, &d)
	case text:
		fillText(p, &d)
	case records:
		fillRecords(p, &d)
	case noise:
		fillNoise(p, &d)
	default:
		clear(p)
	}
}

func fillNoise(p []byte, d *dice) {
	for n := 0; n < len(p); n += 8 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], d.roll())
		copy(p[n:], b[:])
	}
}

// again repeats up to most of the bytes that lie not far before p[n]; near ones
// are likelier.
func again(p []byte, n int, d *dice, most int64) int {
	back := int(d.spread(16, 1<<17))
	length := int(8 + d.below(most))
	if back > n || length > back {
		return 0
	}
	return copy(p[n:], p[n-back:n-back+length])
}

func fillCode(p []byte, d *dice) {
	for n := 0; n < len(p); {
		r := d.roll()
		if r&15 < 2 {
			n += again(p, n, d, 40)
			continue
		}
		n += copy(p[n:], opcodes[zipf[r>>8&0xffff]])
		if r&16 != 0 && n < len(p) { // an operand
			p[n] = byte(r >> 32)
			n++
		}
	}
}

func fillText(p []byte, d *dice) {
	for n := 0; n < len(p); {
		r := d.roll()
		if r&31 < 3 {
			n += again(p, n, d, 60)
			continue
		}
		n += copy(p[n:], words[zipf[r>>8&0xffff]])
		sep := " "
		if r>>40&15 == 0 {
			sep = ",\n"
		}
		n += copy(p[n:], sep)
	}
}

func fillRecords(p []byte, d *dice) {
	key, at := d.below(1<<40), d.below(1<<30)
	for n := 0; n < len(p); {
		var row [24]byte
		key += 1 + d.below(3)
		at += d.below(5000)
		binary.BigEndian.PutUint64(row[:], uint64(key))            //nolint:gosec // positive
		binary.LittleEndian.PutUint64(row[8:], uint64(at))         //nolint:gosec // positive
		binary.LittleEndian.PutUint64(row[16:], d.roll()&0xffffff) // a value
		n += copy(p[n:], row[:])
		for range 4 {
			n += copy(p[n:], words[zipf[d.roll()&0xffff]])
			n += copy(p[n:], "\x00\x01")
		}
	}
}

const vocabulary = 4096

// zipf maps 16 random bits to a place in a vocabulary, low places being likelier
// by Zipf's law.
var zipf = func() (table [1 << 16]uint16) {
	sum := 0.0
	for i := range vocabulary {
		sum += 1 / float64(i+1)
	}
	next, upto := 0, 0.0
	for i := range vocabulary {
		upto += 1 / float64(i+1)
		for ; next < int(upto/sum*float64(len(table))); next++ {
			table[next] = uint16(i) //nolint:gosec // small
		}
	}
	return table
}()

var words = func() (w [vocabulary]string) {
	d := dice(1)
	for i := range w {
		var b strings.Builder
		for range 2 + d.below(5) {
			fmt.Fprintf(&b, "%c%c", "bcdfglmnprst"[d.below(12)], "aeiou"[d.below(5)])
		}
		w[i] = b.String()
	}
	return w
}()

var opcodes = func() (o [vocabulary][]byte) {
	d := dice(2)
	for i := range o {
		o[i] = make([]byte, 1+d.below(7))
		fillNoise(o[i], &d)
	}
	return o
}()
