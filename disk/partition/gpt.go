package partition

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

const (
	gptEntry   = 128
	gptEntries = 1024 // at most; tables in use have 128
	gptHeader  = 92
)

// growable are the types of partitions whose file systems grow while in use: "Linux
// filesystem data" and the root of x86-64 and arm64, as they lie on a disk.
var growable = []string{
	"\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4",
	"\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09",
	"\x45\xb0\x21\xb9\xf0\x1d\xc3\x41\xaf\x44\x4c\x6f\x28\x0d\x3f\xae",
}

// gpt is one of a disk's two tables.
type gpt struct {
	header  []byte // a sector
	entries []byte
}

func (g gpt) at(off int) int64 { return int64(binary.LittleEndian.Uint64(g.header[off:])) } // #nosec G115 -- a negative one is refused
func (g gpt) put(off int, v int64) {
	binary.LittleEndian.PutUint64(g.header[off:], uint64(v)) // #nosec G115 -- sectors
}

const ( // offsets in a header
	atCRC, atSelf, atOther, atFirst, atLast, atTable, atCount, atEntry, atTableCRC = 16, 24, 32, 40, 48, 72, 80, 84, 88
)

func growGPT(r io.ReaderAt, m mbr, was, now int64) (Change, error) {
	const broken = "The partition table (GPT) is not whole, so it was left alone. Repair it inside the VPS, then grow the partition there."
	primary, ok, err := readGPT(r, 1, was)
	if err != nil || !ok || primary.at(atOther) != was-1 {
		return left(broken), err
	}
	backup, ok, err := readGPT(r, was-1, was)
	if err != nil || !ok || backup.at(atOther) != 1 || !bytes.Equal(primary.entries, backup.entries) {
		return left(broken), err
	}
	tableSectors := (int64(len(primary.entries)) + sector - 1) / sector
	usable := now - 2 - tableSectors // the last sector for partitions
	c, ok := primary.stretch(usable)
	if !ok {
		return left(broken), nil
	}
	return Change{
		Writes: slices.Concat(m.stretched(now), primary.moved(1, now-1, primary.at(atTable), usable),
			primary.moved(now-1, 1, now-1-tableSectors, usable), []Write{{(was - 1) * sector, make([]byte, sector)}}),
		Partition: c.Partition, Bytes: c.Bytes, Why: c.Why,
	}, nil
}

// readGPT is not ok when anything of a table is not as UEFI has it.
func readGPT(r io.ReaderAt, lba, sectors int64) (g gpt, ok bool, err error) {
	if g.header, err = read(r, lba*sector, sector); err != nil {
		return g, false, err
	}
	h := g.header
	count, size := binary.LittleEndian.Uint32(h[atCount:]), binary.LittleEndian.Uint32(h[atEntry:])
	table := g.at(atTable)
	behind := table + (int64(count)*gptEntry+sector-1)/sector
	switch {
	case !bytes.HasPrefix(h, []byte("EFI PART\x00\x00\x01\x00")), binary.LittleEndian.Uint32(h[12:]) != gptHeader,
		g.at(atSelf) != lba, headerCRC(h) != binary.LittleEndian.Uint32(h[atCRC:]),
		count == 0, count > gptEntries, size != gptEntry,
		g.at(atFirst) < 2, g.at(atLast) < g.at(atFirst), g.at(atLast) >= sectors,
		table < 2, table >= sectors, behind > sectors, table <= g.at(atLast) && behind > g.at(atFirst):
		return g, false, nil
	}
	if g.entries, err = read(r, table*sector, int(count)*gptEntry); err != nil {
		return g, false, err
	}
	return g, crc32.ChecksumIEEE(g.entries) == binary.LittleEndian.Uint32(h[atTableCRC:]), nil
}

func headerCRC(h []byte) uint32 {
	b := slices.Clone(h[:gptHeader])
	clear(b[atCRC : atCRC+4])
	return crc32.ChecksumIEEE(b)
}

// stretch moves the end of the last partition, in memory. It is not ok for
// entries that cannot be.
func (g gpt) stretch(usable int64) (Change, bool) {
	type part struct {
		index       int
		first, last int64
	}
	var parts []part
	for i := range len(g.entries) / gptEntry {
		e := g.entry(i)
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		p := part{i, int64(binary.LittleEndian.Uint64(e[32:])), int64(binary.LittleEndian.Uint64(e[40:]))} // #nosec G115 -- a negative one is refused
		if p.first < g.at(atFirst) || p.last < p.first || p.last > g.at(atLast) {
			return Change{}, false
		}
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int { return int(a.first - b.first) })
	for i := 1; i < len(parts); i++ {
		if parts[i].first <= parts[i-1].last {
			return Change{}, false
		}
	}
	if len(parts) == 0 {
		return left("The disk has no partition."), true
	}
	p := parts[len(parts)-1]
	e := g.entry(p.index)
	last := rounded(usable)
	switch {
	case !slices.Contains(growable, string(e[:16])):
		return left(fmt.Sprintf("The last partition (%d) is not a file system of Linux, so it was left alone; the room behind it is free.", p.index+1)), true
	case last <= p.last:
		return left("There is no room behind the last partition."), true
	}
	binary.LittleEndian.PutUint64(e[40:], uint64(last)) // #nosec G115 -- a sector
	return Change{Partition: p.index + 1, Bytes: (last - p.last) * sector}, true
}

func (g gpt) entry(i int) []byte { return g.entries[i*gptEntry:][:gptEntry] }

// moved are the table's writes at another place.
func (g gpt) moved(self, other, table, usable int64) []Write {
	n := gpt{header: slices.Clone(g.header), entries: g.entries}
	n.put(atSelf, self)
	n.put(atOther, other)
	n.put(atTable, table)
	n.put(atLast, usable)
	binary.LittleEndian.PutUint32(n.header[atTableCRC:], crc32.ChecksumIEEE(n.entries))
	binary.LittleEndian.PutUint32(n.header[atCRC:], headerCRC(n.header))
	return []Write{{table * sector, n.entries}, {self * sector, n.header}}
}

// stretched is the protective MBR over a larger disk; other ones stay.
func (m mbr) stretched(sectors int64) []Write {
	if len(m.parts) != 1 || m.parts[0].start != 1 {
		return nil
	}
	return []Write{{0, m.resized(m.parts[0].slot, sectors-1)}}
}
