package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"holdfast/compute"
)

// maxDisks of a machine.
const maxDisks = 16

// Grow makes a disk larger.
func (h *Host) Grow(ctx context.Context, machine, name string, size int64) error {
	if err := h.called("grow", machine); err != nil {
		return err
	}
	return h.change(ctx, machine, func(s *state) error {
		if err := errors.Join(s.mustHave(name), s.plain()); err != nil {
			return err
		}
		d := &s.Machine.Disks[s.disk(name)]
		if size < d.SizeBytes {
			return fmt.Errorf("sim: disk %q has %d bytes, and never fewer: %w", name, d.SizeBytes, compute.ErrState)
		}
		// Only the state says how large a disk is: before it is stored, the file is
		// longer than the disk, and nobody looks behind its end.
		d.SizeBytes = size
		return os.Truncate(h.diskPath(s, name), size)
	})
}

// AddDisk adds a disk to a stopped machine. Its image must be raw.
func (h *Host) AddDisk(ctx context.Context, machine string, d compute.Disk) error {
	if err := h.called("adddisk", machine); err != nil {
		return err
	}
	if err := checkDisk(d); err != nil {
		return err
	}
	return h.change(ctx, machine, func(s *state) error {
		if i := s.disk(d.Name); i >= 0 {
			if have := s.Machine.Disks[i].SizeBytes; have != d.SizeBytes {
				return fmt.Errorf("sim: disk %q is there, with %d bytes: %w", d.Name, have, compute.ErrState)
			}
			return nil
		}
		if err := errors.Join(s.off(), s.plain()); err != nil {
			return err
		}
		if len(s.Machine.Disks) >= maxDisks {
			return fmt.Errorf("sim: %d disks are the most: %w", maxDisks, compute.ErrState)
		}
		if err := h.dropDisk(s, d.Name); err != nil { // what a cut-off call left
			return err
		}
		if err := createDisk(h.diskPath(s, d.Name), d); err != nil {
			return err
		}
		s.Machine.Disks = append(s.Machine.Disks, d)
		return nil
	})
}

// RemoveDisk removes a disk of a stopped machine.
func (h *Host) RemoveDisk(ctx context.Context, machine, name string) error {
	if err := h.called("removedisk", machine); err != nil {
		return err
	}
	if !diskNames.MatchString(name) {
		return nil // such a disk cannot exist
	}
	return h.change(ctx, machine, func(s *state) error {
		i := s.disk(name)
		if i == 0 {
			return fmt.Errorf("sim: the machine boots from disk %q: %w", name, compute.ErrState)
		}
		if i > 0 {
			if err := errors.Join(s.off(), s.plain()); err != nil {
				return err
			}
			s.Machine.Disks = slices.Delete(s.Machine.Disks, i, i+1)
			// It does not exist from now on; then its files may go.
			if err := h.store(s); err != nil {
				return err
			}
		}
		return h.dropDisk(s, name)
	})
}

// dropDisk removes what there is of a disk that the machine does not have.
func (h *Host) dropDisk(s *state, name string) error {
	for _, b := range s.Tracking[name] {
		if err := h.removeBitmap(s, name, b.Point); err != nil {
			return err
		}
	}
	delete(s.Tracking, name)
	s.Fills[name]++ // an open Sink ends
	err := os.Remove(h.diskPath(s, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// disk is the place of a disk in the machine, -1 for none.
func (s *state) disk(name string) int {
	return slices.IndexFunc(s.Machine.Disks, func(d compute.Disk) bool { return d.Name == name })
}

// off is nil for a machine that does not run.
func (s *state) off() error {
	if s.Power == compute.Stopped {
		return nil
	}
	return fmt.Errorf("sim: machine %q is %s: %w", s.Machine.ID, s.Power, compute.ErrState)
}

// plain is nil while no point in time is open and there are no snapshots.
func (s *state) plain() error {
	if len(s.Snapshots) > 0 {
		return fmt.Errorf("sim: machine %q has snapshots: %w", s.Machine.ID, compute.ErrState)
	}
	return s.idle()
}
