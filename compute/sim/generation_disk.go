package sim

import (
	"context"
	"fmt"
	"path/filepath"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/disk/file"
)

// FillGeneration opens a disk of a generation for writing.
func (h *Host) FillGeneration(ctx context.Context, machine, name, diskName string) (disk.Sink, error) {
	if err := h.called("fillgeneration", machine); err != nil {
		return nil, err
	}
	opened := &sink{host: h, machine: machine, generation: name, name: diskName}
	err := h.openAside(ctx, machine, name, diskName, func(g *generation, path string) (err error) {
		if g.Ready {
			return fmt.Errorf("sim: generation %q is ready: %w", name, compute.ErrState)
		}
		opened.turn = g.Fills[diskName]
		opened.Sink, err = file.OpenSink(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// OpenGeneration opens a disk of a generation for reading.
func (h *Host) OpenGeneration(ctx context.Context, machine, name, diskName string) (disk.Source, error) {
	if err := h.called("opengeneration", machine); err != nil {
		return nil, err
	}
	var opened *file.Source
	err := h.openAside(ctx, machine, name, diskName, func(_ *generation, path string) (err error) {
		opened, err = file.Open(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// openAside takes the turn on a disk of a generation that is not in force.
func (h *Host) openAside(ctx context.Context, machine, name, diskName string, open func(g *generation, path string) error) error {
	return h.change(ctx, machine, func(s *state) error {
		g, err := s.aside(name)
		if err != nil {
			return err
		}
		if !g.has(diskName) {
			return fmt.Errorf("sim: generation %q has no disk %.20q: %w", name, diskName, compute.ErrNoGeneration)
		}
		g.Fills[diskName]++
		return open(g, filepath.Join(h.generationDir(machine, name), diskName+".raw"))
	})
}
