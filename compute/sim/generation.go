package sim

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"

	"holdfast/compute"
)

var generationNames = regexp.MustCompile(`^[0-9a-z]{1,32}$`)

// find is a generation of the machine's, nil if there is none.
func (s *state) find(name string) *generation {
	if name == s.Name {
		return &s.generation
	}
	if i := s.other(name); i >= 0 {
		return &s.Others[i]
	}
	return nil
}

// other is the place among Others, -1 for none.
func (s *state) other(name string) int {
	return slices.IndexFunc(s.Others, func(g generation) bool { return g.Name == name })
}

// aside is a generation that is not in force.
func (s *state) aside(name string) (*generation, error) {
	switch g := s.find(name); {
	case g == nil:
		return nil, fmt.Errorf("sim: machine %q: generation %.40q: %w", s.Machine.ID, name, compute.ErrNoGeneration)
	case name == s.Name:
		return nil, fmt.Errorf("sim: machine %q: generation %q is in force: %w", s.Machine.ID, name, compute.ErrState)
	default:
		return g, nil
	}
}

// Generations lists the machine's sets of disks.
func (h *Host) Generations(ctx context.Context, machine string) ([]compute.Generation, error) {
	if err := h.called("generations", machine); err != nil {
		return nil, err
	}
	var found []compute.Generation
	err := h.look(ctx, machine, func(s *state) error {
		now := s.generation
		now.Disks = s.Machine.Disks
		for i, g := range append([]generation{now}, s.Others...) {
			size, err := stored(h.generationDir(machine, g.Name))
			if err != nil {
				return err
			}
			found = append(found, compute.Generation{
				Name: g.Name, Current: i == 0, Ready: g.Ready, Disks: slices.Clone(g.Disks), Bytes: size,
			})
		}
		return nil
	})
	return found, err
}

// stored is how many bytes a directory's files take.
func stored(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		sum += st.Blocks * 512
		return nil
	})
	return sum, err
}

// Prepare makes a generation of zeros.
func (h *Host) Prepare(ctx context.Context, machine, name string, disks []compute.Disk) error {
	if err := h.called("prepare", machine); err != nil {
		return err
	}
	if !generationNames.MatchString(name) || len(disks) == 0 {
		return fmt.Errorf("sim: generation %.40q of %d disks cannot be", name, len(disks))
	}
	if err := checkDisks(disks); err != nil {
		return err
	}
	return h.change(ctx, machine, func(s *state) error {
		if g := s.find(name); g != nil {
			if name == s.Name || !slices.Equal(g.Disks, disks) {
				return fmt.Errorf("sim: generation %q is another: %w", name, compute.ErrState)
			}
			return nil
		}
		dir := h.generationDir(machine, name)
		if err := os.RemoveAll(dir); err != nil { // of a call that was cut off
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		for _, d := range disks {
			path := filepath.Join(dir, d.Name+".raw")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			if err := os.Truncate(path, d.SizeBytes); err != nil {
				return err
			}
		}
		s.Others = append(s.Others, generation{
			Name: name, Disks: slices.Clone(disks), Tracking: map[string][]bitmap{}, Fills: map[string]int{},
		})
		return nil
	})
}

// Ready ends the filling of a generation.
func (h *Host) Ready(ctx context.Context, machine, name string, at map[string]compute.Point) error {
	if err := h.called("ready", machine); err != nil {
		return err
	}
	return h.change(ctx, machine, func(s *state) error {
		if g := s.find(name); g != nil && g.Ready {
			return nil
		}
		g, err := s.aside(name)
		if err != nil {
			return err
		}
		for disk, point := range at {
			if !pointNames.MatchString(string(point)) || !g.has(disk) {
				return fmt.Errorf("sim: point %.70q of disk %.20q cannot be", point, disk)
			}
			g.Tracking[disk] = []bitmap{{Point: point}}
		}
		for _, d := range g.Disks {
			g.Fills[d.Name]++ // an open Sink ends
		}
		g.Ready = true
		return nil
	})
}

// Switch puts a generation in force.
func (h *Host) Switch(ctx context.Context, machine, name string) error {
	if err := h.called("switch", machine); err != nil {
		return err
	}
	return h.change(ctx, machine, func(s *state) error {
		if name == s.Name {
			return nil
		}
		g, err := s.aside(name)
		if err != nil {
			return err
		}
		if s.Power != compute.Stopped || !g.Ready {
			return fmt.Errorf("sim: machine %q is %s, generation %q is ready: %v: %w", machine, s.Power, name, g.Ready, compute.ErrState)
		}
		if s.Point != nil {
			dir := h.pointDir(machine, s.Point.Name)
			if err := h.endPoint(s, compute.Abandoned); err != nil {
				return err
			}
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
		former := s.generation
		former.Disks = s.Machine.Disks
		s.Machine.Disks, s.generation = g.Disks, *g
		s.Disks = nil
		s.Others[s.other(name)] = former
		return nil
	})
}

// Drop removes a generation.
func (h *Host) Drop(ctx context.Context, machine, name string) error {
	if err := h.called("drop", machine); err != nil {
		return err
	}
	if !generationNames.MatchString(name) {
		return nil // such a generation cannot exist
	}
	return h.change(ctx, machine, func(s *state) error {
		if s.find(name) == nil {
			return nil
		}
		if _, err := s.aside(name); err != nil {
			return err
		}
		i := s.other(name)
		s.Others = slices.Delete(s.Others, i, i+1)
		if err := h.store(s); err != nil { // first: half of it must not be there
			return err
		}
		return os.RemoveAll(h.generationDir(machine, name))
	})
}

// Room is how many bytes are free.
func (h *Host) Room(ctx context.Context, machine string) (int64, error) {
	if err := h.called("room", machine); err != nil {
		return 0, err
	}
	if room := h.fault().Room; room > 0 {
		return room, ctx.Err()
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(h.dir, &fsys); err != nil {
		return 0, fmt.Errorf("sim: room: %w", err)
	}
	return int64(fsys.Bavail) * fsys.Bsize, ctx.Err() //nolint:gosec // a file system is smaller than 8 EiB
}

// has says whether a generation that is not in force has a disk.
func (g *generation) has(disk string) bool {
	return slices.ContainsFunc(g.Disks, func(d compute.Disk) bool { return d.Name == disk })
}
