package repair

import (
	"io"

	"holdfast/vault/check"
	"holdfast/vault/chunk"
	"holdfast/vault/tree"
)

// Disk is a live disk that an image was once taken of. It may be written to
// meanwhile: what is read of it counts only if it is the very chunk that is lost.
type Disk struct {
	Image string // the image's name in the backups
	Size  int64  // bytes
	Read  io.ReaderAt
}

// disks gives chunks and rebuilds tree nodes from live disks.
type disks struct {
	all  []Disk
	cs   int64
	memo map[subtree]summary
}

// subtree is a part of an image of a size, as a disk holds it.
type subtree struct {
	disk  int
	size  int64
	level int
	first uint64
}

// summary is what a subtree's parent says of it.
type summary struct {
	id     chunk.ID
	chunks uint32
	ok     bool // all of it could be read
}

// chunk reads what lies in a chunk's place, from the first disk that has it.
func (d *disks) chunk(at check.Place) ([]byte, bool) {
	for _, disk := range d.all {
		if disk.Image != at.Image.Name {
			continue
		}
		if plain, ok := d.read(disk, at.Number, at.Length); ok {
			return plain, true
		}
	}
	return nil, false
}

func (d *disks) read(disk Disk, number uint64, length int64) ([]byte, bool) {
	off := int64(number) * d.cs //nolint:gosec // below the image's size
	if off+length > disk.Size {
		return nil, false
	}
	plain := make([]byte, length)
	n, err := disk.Read.ReadAt(plain, off)
	return plain, int64(n) == length && (err == nil || err == io.EOF) //nolint:errorlint // as io.ReaderAt returns it
}

// node builds the node of a place as it would be if the disk were the image.
func (d *disks) node(at check.Node, sum func(chunk.Kind, []byte) (chunk.ID, error)) ([]byte, bool) {
	for i, disk := range d.all {
		if disk.Image != at.Image.Name {
			continue
		}
		s := subtree{i, at.Image.Size, at.Level, at.First}
		if data, _, ok := d.build(s, sum); ok && data != nil {
			return data, true
		}
	}
	return nil, false
}

// build encodes a node from what the disk holds; one of zeros alone has no bytes.
func (d *disks) build(s subtree, sum func(chunk.Kind, []byte) (chunk.ID, error)) ([]byte, uint32, bool) {
	var ids [tree.Fan]chunk.ID
	var counts [tree.Fan]uint32
	var total uint32
	span := uint64(1)
	for range s.level {
		span *= tree.Fan
	}
	for i := range uint64(tree.Fan) {
		child := subtree{s.disk, s.size, s.level - 1, s.first + i*span}
		if child.first >= uint64((s.size+d.cs-1)/d.cs) { //nolint:gosec // positive
			break
		}
		c := d.summary(child, sum)
		if !c.ok {
			return nil, 0, false
		}
		ids[i], counts[i] = c.id, c.chunks
		total += c.chunks
	}
	if total == 0 {
		return nil, 0, true
	}
	return tree.Encode(s.level, ids, counts), total, true
}

// summary names a subtree; level -1 is a chunk.
func (d *disks) summary(s subtree, sum func(chunk.Kind, []byte) (chunk.ID, error)) summary {
	if s.level < 0 {
		plain, ok := d.read(d.all[s.disk], s.first, min(d.cs, s.size-int64(s.first)*d.cs)) //nolint:gosec // below the image's size
		if !ok || chunk.IsZeros(plain) {
			return summary{ok: ok}
		}
		id, err := sum(chunk.Data, plain)
		return summary{id, 1, err == nil}
	}
	if known, ok := d.memo[s]; ok {
		return known
	}
	var r summary
	if data, chunks, ok := d.build(s, sum); ok {
		r = summary{chunks: chunks, ok: true}
		if data != nil {
			id, err := sum(chunk.Node, data)
			r.id, r.ok = id, err == nil
		}
	}
	d.memo[s] = r
	return r
}
