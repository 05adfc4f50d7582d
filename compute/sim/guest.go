package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"holdfast/compute"
	"holdfast/disk/file"
)

// WriteDisk writes to a disk as the guest does; the machine must be running.
func (h *Host) WriteDisk(machine, name string, p []byte, off int64) error {
	return h.change(context.Background(), machine, func(s *state) error {
		if s.Power != compute.Running {
			return fmt.Errorf("sim: machine %q is %s: %w", machine, s.Power, compute.ErrState)
		}
		if err := s.mustHave(name); err != nil {
			return err
		}
		if err := h.consumeScratch(s, int64(len(p))); err != nil {
			return err
		}
		if !h.fault().Untracked {
			if err := h.mark(s, name, off, int64(len(p))); err != nil {
				return err
			}
		}
		if n := len(s.Snapshots); n > 0 {
			s.Snapshots[n-1].Bytes += int64(len(p))
		}
		sink, err := file.OpenSink(h.diskPath(s, name))
		if err != nil {
			return err
		}
		_, err = sink.WriteAt(p, off)
		return errors.Join(err, sink.Close())
	})
}

// consumeScratch counts what a guest overwrites while a live point is open. The
// guest's write succeeds in any case: it must not notice.
func (h *Host) consumeScratch(s *state, n int64) error {
	if s.Point == nil {
		return nil
	}
	s.Point.Scratch += n
	if limit := h.fault().ScratchBytes; limit > 0 && s.Point.Scratch > limit {
		return h.losePoint(s, exhaustedMark)
	}
	return nil
}

// ReadDisk reads a disk as it is now, whatever the machine's power state.
func (h *Host) ReadDisk(machine, name string, p []byte, off int64) error {
	return h.look(context.Background(), machine, func(s *state) error {
		if err := s.mustHave(name); err != nil {
			return err
		}
		f, err := os.Open(h.diskPath(s, name))
		if err != nil {
			return err
		}
		n, err := f.ReadAt(p, off)
		if n == len(p) && errors.Is(err, io.EOF) {
			err = nil
		}
		return errors.Join(err, f.Close())
	})
}
