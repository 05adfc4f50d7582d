package sim

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"holdfast/compute"
)

// chunkSize is the granularity of change tracking, in bytes.
const chunkSize = 64 << 10

// bitmapPath is the file of one bitmap. Neither a disk's name nor a point can
// make it another file's name: neither contains "_".
func (h *Host) bitmapPath(s *state, disk string, point compute.Point) string {
	return filepath.Join(h.generationDir(s.Machine.ID, s.Name), disk+"_"+string(point)+".dirty")
}

// mark records a write in the bitmap that records, if there is one.
func (h *Host) mark(s *state, disk string, off, length int64) error {
	bitmaps := s.Tracking[disk]
	if len(bitmaps) == 0 || length == 0 {
		return nil
	}
	f, err := os.OpenFile(h.bitmapPath(s, disk, bitmaps[len(bitmaps)-1].Point), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	first, last := off/chunkSize, (off+length-1)/chunkSize
	_, err = f.WriteAt(slices.Repeat([]byte{1}, int(last-first+1)), first)
	return errors.Join(err, f.Close())
}

// dirty is the content of a bitmap, shorter than the disk if its end is clean.
func (h *Host) dirty(s *state, disk string, point compute.Point) ([]byte, error) {
	content, err := os.ReadFile(h.bitmapPath(s, disk, point))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing was written yet
	}
	return content, err
}

// parent is the point that the disk's surviving bitmap names, if it may be
// used; else why not. The reason is "" when there were no parents to lose.
func (s *state) parent(disk string, parents []compute.Point) (compute.Point, string) {
	if len(parents) == 0 {
		return "", ""
	}
	bitmaps := s.Tracking[disk]
	switch {
	case len(bitmaps) == 0:
		return "", "change tracking is missing"
	case bitmaps[0].Inconsistent:
		return "", "change tracking is inconsistent: the hypervisor was killed"
	case !slices.Contains(parents, bitmaps[0].Point):
		return "", "change tracking began with a backup that is not there any more"
	}
	return bitmaps[0].Point, ""
}

// settle ends a point for one disk: Committed keeps only the bitmap that began
// with it, Abandoned merges that one into its predecessor.
func (h *Host) settle(s *state, disk string, point compute.Point, outcome compute.Outcome) error {
	bitmaps := s.Tracking[disk]
	at := slices.IndexFunc(bitmaps, func(b bitmap) bool { return b.Point == point })
	if at < 0 {
		return nil
	}
	keep := bitmaps[at]
	if outcome == compute.Abandoned {
		if at == 0 { // no backup will ever have this name
			delete(s.Tracking, disk)
			return h.removeBitmap(s, disk, point)
		}
		keep = bitmaps[at-1]
		keep.Inconsistent = keep.Inconsistent || bitmaps[at].Inconsistent
		if err := h.merge(s, disk, point, keep.Point); err != nil {
			return err
		}
	}
	for _, b := range bitmaps {
		if b.Point != keep.Point {
			if err := h.removeBitmap(s, disk, b.Point); err != nil {
				return err
			}
		}
	}
	s.Tracking[disk] = []bitmap{keep}
	return nil
}

// merge adds one bitmap's dirty chunks to another's.
func (h *Host) merge(s *state, disk string, from, into compute.Point) error {
	added, err := h.dirty(s, disk, from)
	if err != nil {
		return err
	}
	merged, err := h.dirty(s, disk, into)
	if err != nil {
		return err
	}
	merged = append(merged, make([]byte, max(0, len(added)-len(merged)))...)
	for i, b := range added {
		merged[i] |= b
	}
	return os.WriteFile(h.bitmapPath(s, disk, into), merged, 0o600)
}

func (h *Host) removeBitmap(s *state, disk string, point compute.Point) error {
	err := os.Remove(h.bitmapPath(s, disk, point))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dropTracking removes every bitmap of the machine.
func (h *Host) dropTracking(s *state) error {
	for disk, bitmaps := range s.Tracking {
		for _, b := range bitmaps {
			if err := h.removeBitmap(s, disk, b.Point); err != nil {
				return err
			}
		}
	}
	clear(s.Tracking)
	return nil
}
