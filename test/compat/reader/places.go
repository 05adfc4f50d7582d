package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/zeebo/blake3"
)

const (
	entrySize = 52
	packSize  = 128
	tocSize   = 44
)

type chunkID struct {
	kind byte
	id   [32]byte
}

// place is where a chunk lies.
type place struct {
	pack        string
	offset      int64
	ordinal     uint64
	sealed      uint32
	plain       uint32
	codec, kind byte
}

var u32 = binary.LittleEndian.Uint32

// segments follows section 6. A segment that cannot be read is told and passed
// over: the tables of contents make up for it.
func (v *vault) segments() error {
	v.places = map[chunkID][]place{}
	names, err := v.names("index/")
	for _, name := range names {
		if err := v.segment(name); err != nil {
			fmt.Fprintf(os.Stderr, "reader: %s: %v\n", name, err)
		}
	}
	return err
}

func (v *vault) segment(name string) error {
	data, err := v.blob(name, maxIndex)
	if err != nil {
		return err
	}
	if len(data) < 48+24 || string(data[len(data)-8:]) != "INDEXDR1" {
		return errors.New("cut short")
	}
	trailer := data[len(data)-24:]
	entries, packs := int(u32(trailer)), int(u32(trailer[4:]))
	id := blake3.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", name, entries, packs))
	rest := data[48 : len(data)-24]
	blocks := func(count, size int, ordinal uint64) (plain []byte, err error) {
		for ; count > 0; count -= 256 {
			n := size * min(count, 256)
			if len(rest) < n+16 {
				return nil, errors.New("cut short")
			}
			block, err := v.unseal(data[:48], 'I', ordinal, id, uint32(n), 0, rest[:n+16])
			if err != nil {
				return nil, err
			}
			plain, rest, ordinal = append(plain, block...), rest[n+16:], ordinal+1
		}
		return plain, nil
	}
	es, err := blocks(entries, entrySize, 0)
	if err != nil {
		return err
	}
	ps, err := blocks(packs, packSize, 1<<40)
	if err != nil {
		return err
	}
	return v.entries(es, ps)
}

func (v *vault) entries(es, ps []byte) error {
	for ; len(es) > 0; es = es[entrySize:] {
		at := int(u32(es[32:])) * packSize
		if at+packSize > len(ps) || ps[at] == 0 || ps[at] > 64 {
			return errors.New("an entry names a pack that is not there")
		}
		p, meta := ps[at:at+packSize], u32(es[48:])
		v.add([32]byte(es), place{
			pack:    fmt.Sprintf("packs/%s/%c%x", p[1:1+p[0]], p[65], p[68:84]),
			ordinal: uint64(u32(es[36:])), offset: int64(u32(es[40:])), sealed: u32(es[44:]),
			plain: meta & (1<<24 - 1), codec: byte(meta >> 24 & 15), kind: byte(meta >> 28),
		})
	}
	return nil
}

func (v *vault) add(id [32]byte, p place) {
	key := chunkID{p.kind, id}
	v.places[key] = append(v.places[key], p)
}

// packTables follows section 5, once.
func (v *vault) packTables() error {
	if v.tables {
		return nil
	}
	v.tables = true
	names, err := v.names("packs/")
	for _, name := range names {
		if err := v.table(name); err != nil {
			fmt.Fprintf(os.Stderr, "reader: %s: %v\n", name, err)
		}
	}
	return err
}

func (v *vault) table(name string) error {
	data, err := v.blob(name, maxPack)
	if err != nil {
		return err
	}
	if len(data) < 48+16+16 || string(data[len(data)-8:]) != "PACKTOC1" {
		return errors.New("cut short")
	}
	end := int64(len(data) - 16)
	count := int64(u32(data[end:]))
	start := end - 16 - tocSize*count
	if count > 1<<18 || start < 48 {
		return errors.New("more chunks than bytes")
	}
	toc, err := v.unseal(data[:48], 'P', 1<<32, blake3.Sum256([]byte(name)), uint32(tocSize*count), 0, data[start:end])
	if err != nil {
		return err
	}
	offset := int64(48)
	for i := range uint64(count) {
		e := toc[tocSize*i:]
		p := place{pack: name, ordinal: i, offset: offset, sealed: u32(e[36:]), plain: u32(e[40:]), codec: e[33], kind: e[32]}
		if offset += int64(p.sealed); offset > start {
			return errors.New("chunks beyond the table")
		}
		v.add([32]byte(e), p)
	}
	return nil
}
