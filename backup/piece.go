package backup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/vault"
)

// piece is one disk to be copied.
type piece struct {
	name   string
	size   int64
	parent *vault.Parent
	known  vault.Image // the parent's
	bytes  int64       // to be read
	// sampled chunks are clean, and looked at all the same; ascending.
	sampled []uint64
}

// pieces are all disks of a backup.
type pieces []piece

// total is how many bytes are to be read.
func (p pieces) total() int64 {
	var n int64
	for _, w := range p {
		n += w.bytes
	}
	return n
}

// inherits reports whether any disk is relative to a parent.
func (p pieces) inherits() bool {
	return slices.ContainsFunc(p, func(w piece) bool { return w.parent != nil })
}

// pieces are the disks of the point in time, with what each is relative to.
func (b *attempt) pieces(ctx context.Context) (pieces, error) {
	var work pieces
	for _, d := range b.point.Handle.Disks {
		w := piece{name: d.Name, size: d.SizeBytes}
		if err := b.inherit(ctx, &w, d); err != nil {
			return nil, err
		}
		work = append(work, w)
	}
	return work, nil
}

// inherit finds the image that a disk's extents are relative to; none when it has
// to be read whole. To take a wrong one, or none, for a disk that is only read in
// part would make a backup of rubbish.
func (b *attempt) inherit(ctx context.Context, w *piece, d compute.HandleDisk) error {
	if d.Parent == "" {
		return nil
	}
	for _, p := range b.in.Parents {
		if p.Point != string(d.Parent) {
			continue
		}
		m, err := b.usable(ctx, p)
		if err != nil {
			return err
		}
		known, found := m.Image(d.Name)
		if !found {
			return fmt.Errorf("%w: backup %s has no image of %s", errParent, p.ID, d.Name)
		}
		w.parent, w.known = &vault.Parent{Backup: string(p.ID), Image: d.Name}, known
		return nil
	}
	return fmt.Errorf("%w: no backup began with %s", errParent, d.Parent)
}

// extents are the source's. Where the disk was smaller at the parent's point,
// nothing of the parent is equal to it, whatever change tracking says.
func (w piece) extents(ctx context.Context, src disk.Source) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for e, err := range src.Extents(ctx) {
			if err == nil && e.Clean && e.End() > w.known.Size {
				if old := w.known.Size - e.Offset; old > 0 {
					if !yield(disk.Extent{Offset: e.Offset, Length: old, Zero: e.Zero, Clean: true}, nil) {
						return
					}
					e.Offset, e.Length = w.known.Size, e.Length-old
				}
				e.Clean = false
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// ranges are what the vault must read of a disk: all that is not known to be as
// in the parent.
func (w piece) ranges(ctx context.Context, src disk.Source) iter.Seq2[vault.Range, error] {
	return func(yield func(vault.Range, error) bool) {
		for e, err := range w.extents(ctx, src) {
			if err == nil && e.Clean {
				continue
			}
			if !yield(vault.Range{Offset: e.Offset, Length: e.Length, Zero: e.Zero}, err) || err != nil {
				return
			}
		}
	}
}

// open opens a disk of the point in time for the length of use.
func (b *attempt) open(ctx context.Context, name string, use func(disk.Source) error) (err error) {
	src, err := b.Host.Driver.Open(ctx, b.point.Handle, name)
	if err != nil {
		return fmt.Errorf("backup: open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return use(src)
}
