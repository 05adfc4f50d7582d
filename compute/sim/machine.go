package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast/compute"
)

// Define creates the machine and its disks, stopped. Images must be raw.
func (h *Host) Define(ctx context.Context, m compute.Machine) error {
	if err := h.called("define", m.ID); err != nil {
		return err
	}
	if !machineIDs.MatchString(m.ID) {
		return fmt.Errorf("sim: machine id %q cannot be", m.ID)
	}
	if err := checkDisks(m.Disks); err != nil {
		return err
	}
	return h.locked(ctx, func() error {
		if _, err := h.load(m.ID); err == nil {
			return nil // defined before
		} else if !errors.Is(err, compute.ErrNotFound) {
			return err
		}
		return h.define(m)
	})
}

func checkDisks(disks []compute.Disk) error {
	seen := map[string]bool{}
	for _, d := range disks {
		if err := checkDisk(d); err != nil {
			return err
		}
		if seen[d.Name] {
			return fmt.Errorf("sim: two disks %q", d.Name)
		}
		seen[d.Name] = true
	}
	return nil
}

func checkDisk(d compute.Disk) error {
	if !diskNames.MatchString(d.Name) || d.SizeBytes <= 0 {
		return fmt.Errorf("sim: disk %q of %d bytes cannot be", d.Name, d.SizeBytes)
	}
	if d.Image != "" && d.ImageFormat != "raw" {
		return fmt.Errorf("sim: disk %q: image format %q is not supported", d.Name, d.ImageFormat)
	}
	return nil
}

// define writes the disks, then the state, which makes the machine exist. What
// a cut-off call left is written anew.
func (h *Host) define(m compute.Machine) error {
	if err := os.RemoveAll(h.machineDir(m.ID)); err != nil {
		return err
	}
	s := &state{Machine: m, Power: compute.Stopped, generation: generation{
		Name: compute.FirstGeneration, Ready: true, Tracking: map[string][]bitmap{}, Fills: map[string]int{},
	}}
	if err := os.MkdirAll(h.generationDir(m.ID, s.Name), 0o700); err != nil {
		return err
	}
	for _, d := range m.Disks {
		if err := createDisk(h.diskPath(s, d.Name), d); err != nil {
			return err
		}
	}
	return h.store(s)
}

// createDisk writes a disk that is not there.
func createDisk(path string, d compute.Disk) error {
	if d.Image != "" {
		if err := copySparse(d.Image, path); err != nil {
			return err
		}
	} else if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > d.SizeBytes {
		return fmt.Errorf("sim: image of disk %q is larger than the disk", d.Name)
	}
	return os.Truncate(path, d.SizeBytes)
}

// Start boots the machine; a point in time of the stopped machine is lost.
func (h *Host) Start(ctx context.Context, machine string) error {
	if err := h.called("start", machine); err != nil {
		return err
	}
	err := h.change(ctx, machine, func(s *state) error {
		if s.Power != compute.Stopped {
			return nil
		}
		if err := h.losePoint(s, ""); err != nil {
			return err
		}
		s.Power, s.Boot, s.Started, s.PoweredOff = compute.Running, s.Boot+1, time.Now().UTC(), false
		for disk := range s.Fills {
			s.Fills[disk]++ // an open Sink ends
		}
		return h.print(machine, fmt.Sprintf("boot %d\n", s.Boot))
	})
	if err != nil {
		return err
	}
	return h.follow(ctx, machine)
}

// Stop powers the machine off; a point in time of the running one is lost.
func (h *Host) Stop(ctx context.Context, machine string, grace time.Duration) error {
	if err := h.called("stop", machine); err != nil {
		return err
	}
	if h.fault().DeafGuest {
		// By contract the guest has grace to react; this one lets it pass.
		select {
		case <-time.After(grace):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := h.change(ctx, machine, func(s *state) error {
		if s.Power == compute.Stopped {
			return nil
		}
		s.Power = compute.Stopped
		return h.losePoint(s, "")
	})
	if err != nil {
		return err
	}
	return h.follow(ctx, machine)
}

// PowerOff is the guest of a running machine powering it off. A point in time of it
// is lost.
func (h *Host) PowerOff(ctx context.Context, machine string) error {
	err := h.change(ctx, machine, func(s *state) error {
		if s.Power != compute.Running {
			return fmt.Errorf("sim: machine %q is %s: %w", machine, s.Power, compute.ErrState)
		}
		s.Power, s.PoweredOff = compute.Stopped, true
		return h.losePoint(s, "")
	})
	if err != nil {
		return err
	}
	return h.follow(ctx, machine)
}

// Pause pauses a running machine, as its customer may.
func (h *Host) Pause(ctx context.Context, machine string) error {
	return h.setPower(ctx, machine, compute.Running, compute.Paused)
}

// Resume lets a paused machine run.
func (h *Host) Resume(ctx context.Context, machine string) error {
	return h.setPower(ctx, machine, compute.Paused, compute.Running)
}

func (h *Host) setPower(ctx context.Context, machine string, from, to compute.PowerState) error {
	return h.change(ctx, machine, func(s *state) error {
		if s.Power != from {
			return fmt.Errorf("sim: machine %q is %s: %w", machine, s.Power, compute.ErrState)
		}
		s.Power = to
		return nil
	})
}

// Delete removes the machine.
func (h *Host) Delete(ctx context.Context, machine string) error {
	if err := h.called("delete", machine); err != nil {
		return err
	}
	if !machineIDs.MatchString(machine) {
		return nil // such a machine cannot exist
	}
	err := h.locked(ctx, func() error { return os.RemoveAll(h.machineDir(machine)) })
	return errors.Join(err, h.follow(ctx, machine))
}

// Machines lists the machines in the order of their ids.
func (h *Host) Machines(ctx context.Context) ([]string, error) {
	if err := h.called("machines", ""); err != nil {
		return nil, err
	}
	var found []string
	err := h.locked(ctx, func() error {
		entries, err := os.ReadDir(filepath.Join(h.dir, "machines"))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if _, err := h.load(e.Name()); errors.Is(err, compute.ErrNotFound) {
				continue // a Define that was cut off
			} else if err != nil {
				return err
			}
			found = append(found, e.Name())
		}
		return nil
	})
	return found, err
}

// Console is the end of what the machine printed.
func (h *Host) Console(ctx context.Context, machine string, limit int) ([]byte, error) {
	var text []byte
	err := h.look(ctx, machine, func(*state) (err error) {
		text, err = os.ReadFile(h.consolePath(machine))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // never started
		}
		return err
	})
	return text[max(0, len(text)-max(0, limit)):], err
}

func (h *Host) consolePath(machine string) string {
	return filepath.Join(h.machineDir(machine), "console")
}

// print adds to the machine's console.
func (h *Host) print(machine, text string) error {
	f, err := os.OpenFile(h.consolePath(machine), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
