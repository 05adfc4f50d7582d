package partition

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

const (
	mbrTable   = 446
	mbrEntry   = 16
	protective = 0xee
	linuxMBR   = 0x83
)

// mbr is the first sector with the primary partitions of its table.
type mbr struct {
	raw   []byte
	parts []mbrPart // in use
}

type mbrPart struct {
	slot        int // 0..3
	kind        byte
	start, size int64 // sectors
}

func (p mbrPart) end() int64 { return p.start + p.size }

// parseMBR says why a sector is no table that may be changed.
func parseMBR(raw []byte, sectors int64) (m mbr, why string) {
	const none = "The disk has no partition table. If a file system fills it, grow that inside the VPS (ext4: resize2fs, XFS: xfs_growfs)."
	m.raw = slices.Clone(raw)
	if raw[510] != 0x55 || raw[511] != 0xaa {
		return m, none
	}
	for slot := range 4 {
		e := raw[mbrTable+slot*mbrEntry:][:mbrEntry]
		p := mbrPart{slot, e[4], int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))}
		if e[0] != 0 && e[0] != 0x80 { // a boot sector's code, as of FAT
			return m, none
		}
		if p.kind == 0 {
			continue
		}
		if p.start == 0 || p.size == 0 || p.end() > sectors && p.kind != protective {
			return m, "The partition table names sectors that the disk did not have, so it was left alone."
		}
		m.parts = append(m.parts, p)
	}
	if len(m.parts) == 0 {
		return m, none
	}
	slices.SortFunc(m.parts, func(a, b mbrPart) int { return int(a.start - b.start) })
	for i, p := range m.parts[1:] {
		if m.parts[i].end() > p.start {
			return m, "The partition table has partitions that overlap, so it was left alone."
		}
	}
	return m, ""
}

// protective says that the table stands in for a GPT.
func (m mbr) protective() bool {
	return slices.ContainsFunc(m.parts, func(p mbrPart) bool { return p.kind == protective })
}

func (m mbr) grow(sectors int64) Change {
	p := m.parts[len(m.parts)-1]
	if p.kind != linuxMBR {
		return left(fmt.Sprintf("The last partition (%d, type %02x) is not one of Linux, so it was left alone.", p.slot+1, p.kind))
	}
	size := min(rounded(sectors-1)+1-p.start, math.MaxUint32)
	if size <= p.size {
		return left("The last partition is as large as its kind of table allows.")
	}
	return Change{
		Writes: []Write{{0, m.resized(p.slot, size)}}, Partition: p.slot + 1, Bytes: (size - p.size) * sector,
	}
}

// resized is the sector with one partition's length changed. Its end by heads and
// cylinders stays: nothing has read that on disks of this size for decades.
func (m mbr) resized(slot int, size int64) []byte {
	raw := slices.Clone(m.raw)
	binary.LittleEndian.PutUint32(raw[mbrTable+slot*mbrEntry+12:], uint32(min(size, math.MaxUint32))) // #nosec G115 -- bounded
	return raw
}
