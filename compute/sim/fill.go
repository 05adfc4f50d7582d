package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/disk/file"
)

// sink is a disk being filled, until a later Fill or a Start takes its turn.
type sink struct {
	*file.Sink
	host       *Host
	machine    string
	generation string
	name       string
	turn       int
	closed     atomic.Bool
}

// Fill opens a disk of a stopped machine for writing.
func (h *Host) Fill(ctx context.Context, machine, name string) (disk.Sink, error) {
	if err := h.called("fill", machine); err != nil {
		return nil, err
	}
	opened := &sink{host: h, machine: machine, name: name}
	err := h.change(ctx, machine, func(s *state) error {
		if s.Power != compute.Stopped {
			return fmt.Errorf("sim: machine %q is %s: %w", machine, s.Power, compute.ErrState)
		}
		if err := s.mustHave(name); err != nil {
			return err
		}
		if len(s.Snapshots) > 0 {
			return fmt.Errorf("sim: machine %q has snapshots: %w", machine, compute.ErrState)
		}
		s.Fills[name]++
		opened.generation, opened.turn = s.Name, s.Fills[name]
		// Nothing written here is tracked.
		if err := h.dropTracking(s); err != nil {
			return err
		}
		var err error
		opened.Sink, err = file.OpenSink(h.diskPath(s, name))
		return err
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// WriteAt fails once the sink's turn is over.
func (s *sink) WriteAt(p []byte, off int64) (int, error) {
	if s.closed.Load() {
		return 0, fs.ErrClosed
	}
	if limit := s.host.fault().SpaceBytes; limit > 0 && off+int64(len(p)) > limit {
		return 0, fmt.Errorf("sim: %w", disk.ErrNoSpace)
	}
	written := 0
	err := s.host.look(context.Background(), s.machine, func(now *state) (err error) {
		if g := now.find(s.generation); g == nil || g.Fills[s.name] != s.turn {
			return errors.New("sim: the disk was opened anew by another")
		}
		written, err = s.Sink.WriteAt(p, off)
		return err
	})
	return written, err
}

// Close releases the sink.
func (s *sink) Close() error {
	if s.closed.Swap(true) {
		return fs.ErrClosed
	}
	return s.Sink.Close()
}
