package sim_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdfast/compute"
	"holdfast/compute/computetest"
	"holdfast/compute/sim"
)

// harness opens new Hosts on one directory.
type harness struct {
	dir  string
	host *sim.Host
}

func (h *harness) Open() (computetest.Host, error) {
	host, err := sim.Open(h.dir)
	h.host = host
	return host, err
}

func (h *harness) Machine(m compute.Machine) compute.Machine { return m }

func (h *harness) Write(machine, disk string, off, length int64, pattern byte) error {
	return h.host.WriteDisk(machine, disk, bytes.Repeat([]byte{pattern}, int(length)), off)
}

func (h *harness) Pause(machine string) error { return h.host.Pause(context.Background(), machine) }

func (h *harness) PowerOff(machine string) error {
	return h.host.PowerOff(context.Background(), machine)
}

func (h *harness) Kill(machine string) error { return h.host.Kill(machine) }

// current is the generation of disks in force, "" if there is no machine.
func (h *harness) current(machine string) string {
	list, _ := h.host.Generations(context.Background(), machine) // none
	for _, g := range list {
		if g.Current {
			return g.Name
		}
	}
	return ""
}

func (h *harness) Leftovers(machine string, pointsOnly bool) ([]string, error) {
	root := filepath.Join(h.dir, "machines", machine)
	if pointsOnly {
		left, err := filepath.Glob(filepath.Join(root, "points", "*"))
		copies, gerr := filepath.Glob(filepath.Join(root, "gen-"+h.current(machine), "snapshots", "*"))
		have, serr := h.host.Snapshots(context.Background(), machine)
		if errors.Is(serr, compute.ErrNotFound) {
			serr = nil
		}
		for _, path := range copies {
			if !slices.ContainsFunc(have, func(s compute.Snapshot) bool { return s.ID == filepath.Base(path) }) {
				left = append(left, path)
			}
		}
		return left, errors.Join(err, gerr, serr)
	}
	if _, err := os.Lstat(root); err == nil {
		return []string{root}, nil
	}
	return nil, nil
}

func TestSimConforms(t *testing.T) {
	start := func(t *testing.T) computetest.Harness { return &harness{dir: t.TempDir()} }
	computetest.TestDriver(t, start)
	t.Run("reshape", func(t *testing.T) { computetest.TestReshaper(t, start) })
	t.Run("generations", func(t *testing.T) { computetest.TestRegenerator(t, start) })
}

func TestSimSnapshots(t *testing.T) {
	computetest.TestSnapshotter(t, func(t *testing.T) computetest.Harness {
		return &harness{dir: t.TempDir()}
	})
}
