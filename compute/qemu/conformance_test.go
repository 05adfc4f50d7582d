//go:build vm

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/compute/computetest"
)

// harness runs the conformance suite on real QEMU processes.
type harness struct {
	t   *testing.T
	cfg Config
	d   *Driver
}

func TestConformance(t *testing.T) {
	computetest.TestDriver(t, func(t *testing.T) computetest.Harness {
		h := &harness{t: t, cfg: testConfig(t)}
		t.Cleanup(func() { noTraces(t, h.cfg) })
		return h
	})
}

func TestGenerations(t *testing.T) {
	computetest.TestRegenerator(t, func(t *testing.T) computetest.Harness {
		h := &harness{t: t, cfg: testConfig(t)}
		t.Cleanup(func() { noTraces(t, h.cfg) })
		return h
	})
}

func TestReshape(t *testing.T) {
	computetest.TestReshaper(t, func(t *testing.T) computetest.Harness {
		h := &harness{t: t, cfg: testConfig(t)}
		t.Cleanup(func() { noTraces(t, h.cfg) })
		return h
	})
}

func (h *harness) Open() (computetest.Host, error) {
	d, err := New(h.cfg)
	if err != nil {
		return nil, err
	}
	h.d = d
	h.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return d, nil
}

func (h *harness) Machine(m compute.Machine) compute.Machine { return m }

func (h *harness) Write(id, disk string, off, length int64, pattern byte) error {
	return converse(h.t, h.d, id, func(ctx context.Context, s *session) error {
		var said string
		err := s.Execute(ctx, "human-monitor-command", args{
			"command-line": fmt.Sprintf(`qemu-io -d %s "write -f -P %d %d %d"`, diskDevice(disk), pattern, off, length),
		}, &said)
		if err == nil && strings.Contains(said, "rror") {
			err = fmt.Errorf("qemu-io: %s", said)
		}
		return err
	})
}

func (h *harness) Pause(id string) error {
	return converse(h.t, h.d, id, func(ctx context.Context, s *session) error {
		return s.Execute(ctx, "stop", nil, nil)
	})
}

// PowerOff writes to the port with which guests power a q35 machine off (ACPI's
// PM1a control, at the place where the firmware puts it) until that is there.
func (h *harness) PowerOff(id string) error {
	p, alive, err := h.d.running(id)
	if err != nil || !alive {
		return fmt.Errorf("alive: %v, %w", alive, err)
	}
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		err = converse(h.t, h.d, id, func(ctx context.Context, s *session) error {
			return s.Execute(ctx, "human-monitor-command", args{"command-line": "o /w 0x604 0x2000"}, nil)
		})
		ctx, cancel := context.WithTimeout(h.t.Context(), 200*time.Millisecond)
		gone := p.wait(ctx) == nil
		cancel()
		if gone {
			return nil
		}
	}
	return fmt.Errorf("the machine is not off: %w", err)
}

func (h *harness) Kill(id string) error {
	p, alive, err := h.d.running(id)
	if err != nil || !alive {
		return fmt.Errorf("alive: %v, %w", alive, err)
	}
	return p.kill(h.t.Context())
}

func (h *harness) Leftovers(id string, pointsOnly bool) ([]string, error) {
	patterns := []string{
		filepath.Join(h.cfg.Scratch, id+"*"), filepath.Join(h.cfg.Run, id, "p*"),
		filepath.Join(h.cfg.Root, id, "point*.json*"),
	}
	if !pointsOnly {
		patterns = append(patterns, filepath.Join(h.cfg.Root, "*"+id+"*"), filepath.Join(h.cfg.Run, id+"*"))
	}
	var left []string
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	more, err := h.inProcesses(id, pointsOnly)
	strays, serr := h.strayLayers(id)
	return append(append(left, more...), strays...), errors.Join(err, serr)
}

// strayLayers are files of layers that the list does not name.
func (h *harness) strayLayers(id string) ([]string, error) {
	l, err := h.d.layers(id, current)
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(h.d.file(id, current+"/*.*"))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(paths, func(path string) bool {
		part := layerFile.FindStringSubmatch(filepath.Base(path))
		return part == nil && !strings.HasSuffix(path, ".new") ||
			part != nil && slices.ContainsFunc(l, func(y layer) bool { return y.Name == part[2] })
	}), nil
}

// inProcesses looks for processes of the machine, and into its QEMU.
func (h *harness) inProcesses(id string, pointsOnly bool) ([]string, error) {
	var left []string
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, path := range cmdlines {
		b, _ := os.ReadFile(path) // it may have ended
		argv := strings.Split(string(b), "\x00")
		ours := strings.Contains(string(b), h.cfg.Run+"/"+id)
		// A disk of a generation that is not in force is open for no point in time.
		aside := strings.Contains(string(b), h.cfg.Run+"/"+id+"/g")
		if ours && (!pointsOnly || !aside && !strings.Contains(argv[0], "qemu-system")) {
			left = append(left, string(b))
		}
	}
	if _, alive, err := h.d.running(id); err != nil || !alive {
		return left, err
	}
	err = converse(h.t, h.d, id, func(ctx context.Context, s *session) error {
		nodes, err := s.nodes(ctx)
		if err != nil {
			return err
		}
		for name := range nodes {
			if pointNode.MatchString(name) {
				left = append(left, name)
			}
		}
		for name := range nodes {
			part := layerNode.FindStringSubmatch(name)
			if part != nil && !slices.ContainsFunc(s.layers, func(y layer) bool { return y.Name == part[1] }) {
				left = append(left, name)
			}
		}
		jobs, err := s.folds(ctx)
		for id := range jobs {
			left = append(left, id)
		}
		if err != nil {
			return err
		}
		exports, err := s.exports(ctx)
		for id := range exports {
			left = append(left, id)
		}
		if err != nil {
			return err
		}
		limit, err := writeLimit(ctx, s)
		if limit > 0 {
			left = append(left, fmt.Sprintf("%d bytes per second", limit))
		}
		return err
	})
	slices.Sort(left)
	return left, err
}

func TestSnapshots(t *testing.T) {
	computetest.TestSnapshotter(t, func(t *testing.T) computetest.Harness {
		h := &harness{t: t, cfg: testConfig(t)}
		t.Cleanup(func() { noTraces(t, h.cfg) })
		return h
	})
}
