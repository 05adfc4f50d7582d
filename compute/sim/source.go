package sim

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/disk/file"
)

// source is one disk of an open point.
type source struct {
	*file.Source
	host    *Host
	machine string
	point   compute.Point
	tracked bool   // there is a parent
	dirty   []byte // since the parent, a byte for each chunk
}

// Open opens one disk of the point in time.
func (h *Host) Open(ctx context.Context, handle compute.Handle, name string) (disk.Source, error) {
	if err := h.called("open", handle.Machine); err != nil {
		return nil, err
	}
	if err := h.Recover(ctx, handle); err != nil {
		return nil, err
	}
	dir := h.pointDir(handle.Machine, handle.Point)
	for _, d := range handle.Disks {
		if d.Name != name || !diskNames.MatchString(name) {
			continue
		}
		s := &source{host: h, machine: handle.Machine, point: handle.Point, tracked: d.Parent != ""}
		if s.tracked {
			dirty, err := os.ReadFile(filepath.Join(dir, name+".dirty"))
			if err != nil {
				return nil, err
			}
			s.dirty = dirty
		}
		opened, err := file.Open(filepath.Join(dir, name+".raw"))
		if err != nil {
			return nil, err
		}
		s.Source = opened
		return s, nil
	}
	return nil, fmt.Errorf("sim: point %q has no disk %q", handle.Point, name)
}

// ReadAt reads the copy, and believes it only if the point is whole afterwards.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if s.host.countRead() {
		if err := s.host.LosePoint(s.machine); err != nil {
			return 0, err
		}
	}
	if delay := s.host.fault().ReadDelay; delay > 0 {
		time.Sleep(delay) // a slow disk
	}
	n, err := s.Source.ReadAt(p, off)
	if lost := s.host.whole(s.machine, s.point); lost != nil {
		return 0, lost
	}
	return n, err
}

// Extents are those of the copy, cut where clean and dirty meet.
func (s *source) Extents(ctx context.Context) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		for e, err := range s.Source.Extents(ctx) {
			if err == nil {
				err = s.host.whole(s.machine, s.point)
			}
			if err != nil {
				yield(disk.Extent{}, err)
				return
			}
			for part := range s.split(e) {
				if !yield(part, nil) {
					return
				}
			}
		}
	}
}

// split cuts an extent into parts that are all clean or all not.
func (s *source) split(e disk.Extent) iter.Seq[disk.Extent] {
	return func(yield func(disk.Extent) bool) {
		for at := e.Offset; at < e.End(); {
			part := e
			part.Offset, part.Clean = at, s.clean(at)
			end := e.End()
			if chunks := int64(len(s.dirty)) * chunkSize; s.tracked && at < chunks {
				end = (at/chunkSize + 1) * chunkSize
				for end < chunks && s.clean(end) == part.Clean {
					end += chunkSize
				}
				if end >= chunks && part.Clean {
					end = e.End() // nothing behind the bitmap is dirty
				}
			}
			part.Length = min(end, e.End()) - at
			if !yield(part) {
				return
			}
			at = part.End()
		}
	}
}

// clean says whether the chunk at an offset is unchanged since the parent.
func (s *source) clean(at int64) bool {
	chunk := at / chunkSize
	return s.tracked && (chunk >= int64(len(s.dirty)) || s.dirty[chunk] == 0)
}
