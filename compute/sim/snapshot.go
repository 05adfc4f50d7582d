package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"holdfast/compute"
)

var _ compute.Snapshotter = (*Host)(nil)

// snapshotIDs become part of a path, and come from the control plane.
var snapshotIDs = regexp.MustCompile(`^[0-9a-z]{1,32}$`)

// snapshot is a copy of all disks and of their change tracking at one instant.
type snapshot struct {
	compute.Snapshot
	// Tracking are the bitmaps that were in force.
	Tracking map[string][]bitmap `json:"tracking"`
}

func (h *Host) snapshotDir(s *state, id string) string {
	return filepath.Join(h.generationDir(s.Machine.ID, s.Name), "snapshots", id)
}

// snapshotAt is the place of a snapshot in the line, -1 if there is none.
func (s *state) snapshotAt(id string) int {
	return slices.IndexFunc(s.Snapshots, func(have snapshot) bool { return have.ID == id })
}

// idle refuses while a point in time is open.
func (s *state) idle() error {
	if s.Point != nil {
		return fmt.Errorf("sim: point %q is open: %w", s.Point.Name, compute.ErrBusy)
	}
	return nil
}

// Snapshot copies all disks while the host is locked, which no guest's write
// gets past.
func (h *Host) Snapshot(ctx context.Context, machine, id string) (compute.Snapshot, error) {
	if err := h.called("snapshot", machine); err != nil {
		return compute.Snapshot{}, err
	}
	if !snapshotIDs.MatchString(id) {
		return compute.Snapshot{}, fmt.Errorf("sim: snapshot %.40q has an id that cannot be", id)
	}
	var taken compute.Snapshot
	err := h.change(ctx, machine, func(s *state) error {
		if err := s.idle(); err != nil {
			return err
		}
		if i := s.snapshotAt(id); i >= 0 {
			taken = s.Snapshots[i].Snapshot
			return nil
		}
		dir := h.snapshotDir(s, id)
		err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)) // a former call may have been cut off
		if err != nil {
			return err
		}
		for _, d := range s.Machine.Disks {
			if err := copySparse(h.diskPath(s, d.Name), filepath.Join(dir, d.Name+".raw")); err != nil {
				return err
			}
		}
		if err := h.copyTracking(s, s.Tracking, h.generationDir(machine, s.Name), dir); err != nil {
			return err
		}
		taken = compute.Snapshot{ID: id, At: time.Now().UTC(), Frozen: s.Power == compute.Running && h.fault().Agent}
		s.Snapshots = append(s.Snapshots, snapshot{Snapshot: taken, Tracking: cloneTracking(s.Tracking)})
		return nil
	})
	return taken, err
}

// Snapshots lists them.
func (h *Host) Snapshots(ctx context.Context, machine string) ([]compute.Snapshot, error) {
	if err := h.called("snapshots", machine); err != nil {
		return nil, err
	}
	list := []compute.Snapshot{}
	err := h.look(ctx, machine, func(s *state) error {
		for _, have := range s.Snapshots {
			list = append(list, have.Snapshot)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Rollback writes down what it is about to do; whoever loads the state next
// finishes it.
func (h *Host) Rollback(ctx context.Context, machine, id string) error {
	if err := h.called("rollback", machine); err != nil {
		return err
	}
	return h.change(ctx, machine, func(s *state) error {
		if s.Power != compute.Stopped {
			return fmt.Errorf("sim: machine %q is %s: %w", machine, s.Power, compute.ErrState)
		}
		if err := s.idle(); err != nil {
			return err
		}
		i := s.snapshotAt(id)
		if i < 0 {
			return fmt.Errorf("sim: snapshot %.40q: %w", id, compute.ErrNoSnapshot)
		}
		s.Snapshots = s.Snapshots[:i+1]
		s.Snapshots[i].Bytes, s.Rollback = 0, id
		if err := h.store(s); err != nil {
			return err
		}
		return h.redo(s)
	})
}

// redo does a rollback that was begun, as often as it takes.
func (h *Host) redo(s *state) error {
	i := s.snapshotAt(s.Rollback)
	if i < 0 {
		return fmt.Errorf("sim: machine %q goes back to %q, which it does not have", s.Machine.ID, s.Rollback)
	}
	to, dir := s.Snapshots[i], h.snapshotDir(s, s.Rollback)
	for _, d := range s.Machine.Disks {
		path := h.diskPath(s, d.Name)
		if err := os.RemoveAll(path + ".new"); err != nil {
			return err
		}
		if err := copySparse(filepath.Join(dir, d.Name+".raw"), path+".new"); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	if err := h.dropTracking(s); err != nil {
		return err
	}
	if err := h.copyTracking(s, to.Tracking, dir, h.generationDir(s.Machine.ID, s.Name)); err != nil {
		return err
	}
	s.Tracking, s.Rollback = cloneTracking(to.Tracking), ""
	if err := h.store(s); err != nil {
		return err
	}
	return h.sweepSnapshots(s)
}

// RemoveSnapshot forgets the copy.
func (h *Host) RemoveSnapshot(ctx context.Context, machine, id string, progress func(done, total int64)) error {
	if err := h.called("removesnapshot", machine); err != nil {
		return err
	}
	return h.change(ctx, machine, func(s *state) error {
		if err := s.idle(); err != nil {
			return err
		}
		i := s.snapshotAt(id)
		if i < 0 {
			return h.sweepSnapshots(s)
		}
		bytes := s.Snapshots[i].Bytes
		if i > 0 {
			s.Snapshots[i-1].Bytes += bytes
		}
		s.Snapshots = slices.Delete(s.Snapshots, i, i+1)
		if err := h.store(s); err != nil {
			return err
		}
		if progress != nil {
			progress(bytes, bytes)
		}
		return h.sweepSnapshots(s)
	})
}

// sweepSnapshots removes the copies that the state does not name.
func (h *Host) sweepSnapshots(s *state) error {
	dirs, err := os.ReadDir(h.snapshotDir(s, ""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, d := range dirs {
		if s.snapshotAt(d.Name()) < 0 {
			err = errors.Join(err, os.RemoveAll(h.snapshotDir(s, d.Name())))
		}
	}
	return err
}

// copyTracking copies the bitmaps' files from one directory to another.
func (h *Host) copyTracking(s *state, tracking map[string][]bitmap, from, to string) error {
	for disk, bitmaps := range tracking {
		for _, b := range bitmaps {
			name := filepath.Base(h.bitmapPath(s, disk, b.Point))
			content, err := os.ReadFile(filepath.Join(from, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // nothing was written yet
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(to, name), content, 0o600) //nolint:gosec // of checked names
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func cloneTracking(tracking map[string][]bitmap) map[string][]bitmap {
	copied := maps.Clone(tracking)
	for disk, bitmaps := range copied {
		copied[disk] = slices.Clone(bitmaps)
	}
	return copied
}
