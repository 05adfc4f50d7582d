package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"holdfast/compute"
)

// pointDir holds the copies of a point in time.
func (h *Host) pointDir(machine string, point compute.Point) string {
	return filepath.Join(h.machineDir(machine), "points", string(point))
}

// wholeMark is a file in a point's directory for as long as the point is whole;
// once it is lost, another says why.
const (
	wholeMark     = "whole"
	exhaustedMark = "scratch-exhausted"
)

// handleState is the opaque part of a Handle.
type handleState struct {
	// Boot is the process that keeps the point, 0 for a stopped machine's. It
	// is -1 before the point is taken.
	Boot int `json:"boot"`
}

// Begin takes the point in time.
func (h *Host) Begin(ctx context.Context, req compute.PointRequest, save func(compute.Handle) error) (compute.Handle, error) {
	if err := h.called("begin", req.Machine); err != nil {
		return compute.Handle{}, err
	}
	if !pointNames.MatchString(string(req.Point)) {
		return compute.Handle{}, fmt.Errorf("sim: point %q has a name that cannot be", req.Point)
	}
	handle, err := h.begin(ctx, req, save)
	if err != nil {
		if handle.Driver == "" { // nothing was done yet
			return compute.Handle{}, err
		}
		// A failed Begin leaves nothing behind, even if its context has ended.
		return compute.Handle{}, errors.Join(err, h.end(context.WithoutCancel(ctx), handle, compute.Abandoned))
	}
	return handle, nil
}

// begin is Begin without the cleaning up.
func (h *Host) begin(ctx context.Context, req compute.PointRequest, save func(compute.Handle) error) (compute.Handle, error) {
	if err := h.step(1); err != nil {
		return compute.Handle{}, err
	}
	var handle compute.Handle
	err := h.look(ctx, req.Machine, func(s *state) (err error) {
		if s.Point != nil {
			return fmt.Errorf("sim: point %q is open: %w", s.Point.Name, compute.ErrBusy)
		}
		handle, err = h.handle(s, req, -1)
		return err
	})
	if err != nil {
		return compute.Handle{}, err
	}
	if err := save(handle); err != nil {
		return handle, err
	}
	if err := h.step(2); err != nil {
		return handle, err
	}
	if err := os.MkdirAll(h.pointDir(req.Machine, req.Point), 0o700); err != nil {
		return handle, err
	}
	if err := h.step(3); err != nil {
		return handle, err
	}
	var boot int
	if err := h.look(ctx, req.Machine, func(s *state) (err error) {
		boot = s.process()
		handle, err = h.handle(s, req, boot)
		return err
	}); err != nil {
		return handle, err
	}
	if err := save(handle); err != nil {
		return handle, err
	}
	h.limit(req.Machine, handle.WriteBytesPerSecond)
	return handle, h.change(ctx, req.Machine, func(s *state) error { return h.take(s, req, boot) })
}

// process is the hypervisor process that runs, 0 for none.
func (s *state) process() int {
	if s.Power == compute.Stopped {
		return 0
	}
	return s.Boot
}

func (h *Host) handle(s *state, req compute.PointRequest, boot int) (compute.Handle, error) {
	opaque, err := json.Marshal(handleState{Boot: boot})
	if err != nil {
		return compute.Handle{}, err
	}
	handle := compute.Handle{Version: handleVersion, Driver: driverName, Machine: req.Machine, Point: req.Point, State: opaque}
	if s.Power == compute.Running {
		handle.WriteBytesPerSecond = req.WriteBytesPerSecond
		if handle.Frozen = h.fault().Agent; !handle.Frozen {
			handle.NotFrozen = "the guest has no agent running"
		}
	}
	for _, d := range s.Machine.Disks {
		parent, lost := s.parent(d.Name, req.Parents)
		handle.Disks = append(handle.Disks, compute.HandleDisk{Name: d.Name, SizeBytes: d.SizeBytes, Parent: parent, ParentLost: lost})
	}
	return handle, nil
}

// take freezes all disks at this instant: it runs while the host is locked, and
// every guest's write takes that lock.
func (h *Host) take(s *state, req compute.PointRequest, boot int) error {
	if s.Point != nil || s.process() != boot {
		return fmt.Errorf("sim: the machine was started, stopped or backed up meanwhile: %w", compute.ErrPointLost)
	}
	dir := h.pointDir(req.Machine, req.Point)
	for _, d := range s.Machine.Disks {
		copied := filepath.Join(dir, d.Name+".raw")
		if err := copySparse(h.diskPath(s, d.Name), copied); err != nil {
			return err
		}
		if err := os.Truncate(copied, d.SizeBytes); err != nil { // of a Grow that was cut off
			return err
		}
		if bitmaps := s.Tracking[d.Name]; len(bitmaps) > 0 {
			content, err := h.dirty(s, d.Name, bitmaps[0].Point)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, d.Name+".dirty"), content, 0o600); err != nil {
				return err
			}
		}
		s.Tracking[d.Name] = append(s.Tracking[d.Name], bitmap{Point: req.Point})
	}
	if err := os.WriteFile(filepath.Join(dir, wholeMark), nil, 0o600); err != nil {
		return err
	}
	s.Point = &openPoint{Name: req.Point, Boot: boot}
	return h.step(BeginSteps)
}

// losePoint makes the open point unreadable for everyone, at once.
func (h *Host) losePoint(s *state, mark string) error {
	if s.Point == nil {
		return nil
	}
	dir := h.pointDir(s.Machine.ID, s.Point.Name)
	if mark != "" {
		if err := os.WriteFile(filepath.Join(dir, mark), nil, 0o600); err != nil {
			return err
		}
	}
	err := os.Remove(filepath.Join(dir, wholeMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// whole is nil while the point can be read.
func (h *Host) whole(machine string, point compute.Point) error {
	dir := h.pointDir(machine, point)
	_, err := os.Lstat(filepath.Join(dir, wholeMark))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, exhaustedMark)); err == nil {
		return fmt.Errorf("sim: %w: %w", compute.ErrScratchExhausted, compute.ErrPointLost)
	}
	return fmt.Errorf("sim: %w", compute.ErrPointLost)
}

// opaque checks that a Handle is one of ours, whole enough to be used.
func opaque(handle compute.Handle) (handleState, error) {
	var s handleState
	if handle.Driver != driverName || handle.Version != handleVersion ||
		!machineIDs.MatchString(handle.Machine) || !pointNames.MatchString(string(handle.Point)) {
		return s, fmt.Errorf("sim: not a handle of this driver: %q version %d", handle.Driver, handle.Version)
	}
	if err := json.Unmarshal(handle.State, &s); err != nil {
		return s, fmt.Errorf("sim: handle: %w", err)
	}
	return s, nil
}

// Recover proves that the point in time is whole and of the same process.
func (h *Host) Recover(ctx context.Context, handle compute.Handle) error {
	if err := h.called("recover", handle.Machine); err != nil {
		return err
	}
	opaque, err := opaque(handle)
	if err != nil {
		return err
	}
	err = h.look(ctx, handle.Machine, func(s *state) error {
		if s.Point == nil || s.Point.Name != handle.Point || s.Point.Boot != opaque.Boot || s.process() != opaque.Boot {
			return h.lostReason(handle)
		}
		return h.whole(handle.Machine, handle.Point)
	})
	if errors.Is(err, compute.ErrNotFound) {
		return fmt.Errorf("%w: %w", compute.ErrPointLost, err)
	}
	return err
}

// lostReason is why a point that does not match its handle is lost.
func (h *Host) lostReason(handle compute.Handle) error {
	if err := h.whole(handle.Machine, handle.Point); err != nil {
		return err
	}
	return fmt.Errorf("sim: %w", compute.ErrPointLost)
}

// End releases the point in time.
func (h *Host) End(ctx context.Context, handle compute.Handle, outcome compute.Outcome) error {
	if err := h.called("end", handle.Machine); err != nil {
		return err
	}
	if _, err := opaque(handle); err != nil {
		return err
	}
	return h.end(ctx, handle, outcome)
}

// endPoint settles change tracking, and writes down that the point is ended.
func (h *Host) endPoint(s *state, outcome compute.Outcome) error {
	for _, d := range s.Machine.Disks {
		if err := h.settle(s, d.Name, s.Point.Name, outcome); err != nil {
			return err
		}
	}
	s.Point = nil
	h.limit(s.Machine.ID, 0)
	return h.store(s)
}

func (h *Host) end(ctx context.Context, handle compute.Handle, outcome compute.Outcome) error {
	err := h.change(ctx, handle.Machine, func(s *state) error {
		if s.Point != nil && s.Point.Name == handle.Point {
			if err := h.endPoint(s, outcome); err != nil {
				return err
			}
		}
		// Only now: a successor repeats End until the state says it is done.
		return os.RemoveAll(h.pointDir(handle.Machine, handle.Point))
	})
	if errors.Is(err, compute.ErrNotFound) {
		return nil // deleted, and the point with it
	}
	return err
}
