//go:build vm

package qemu

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/disk/disktest"
)

func fill(t *testing.T, d *Driver, m compute.Machine, data []byte) {
	t.Helper()
	s, err := d.Fill(t.Context(), m.ID, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < len(data); off += 4096 {
		b := data[off:min(off+4096, len(data))]
		if len(bytes.Trim(b, "\x00")) == 0 {
			continue
		}
		if _, err := s.WriteAt(b, int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// openPoint takes a point in time of a machine and opens its disk.
func openPoint(t *testing.T, d *Driver, m compute.Machine, parents ...compute.Point) disk.Source {
	t.Helper()
	h := begin(t, d, m, "01child.1", parents...)
	src, err := d.Open(t.Context(), h, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// become has the guest write what differs.
func become(t *testing.T, d *Driver, m compute.Machine, from, to []byte) {
	t.Helper()
	part := filepath.Join(filepath.Dir(d.cfg.Root), "part")
	for off := 0; off < len(to); off += 4096 {
		if bytes.Equal(from[off:off+4096], to[off:off+4096]) {
			continue
		}
		if err := os.WriteFile(part, to[off:off+4096], 0o600); err != nil {
			t.Fatal(err)
		}
		guest(t, d, m.ID, "disk0", fmt.Sprintf("write -s %s %d 4096", part, off))
	}
}

func TestSource(t *testing.T) {
	for _, live := range []bool{true, false} {
		t.Run(fmt.Sprintf("live=%v", live), func(t *testing.T) {
			disktest.TestSource(t, disktest.Sources{Tracking: true, Open: func(t *testing.T, f disktest.SourceFixture) disk.Source {
				d, m := newDriver(t), machine(disktest.SourceSize)
				define(t, d, m, false)
				if f.Parent == nil {
					fill(t, d, m, f.Image)
				} else {
					fill(t, d, m, f.Parent)
				}
				start := live || f.Parent != nil
				if start {
					if err := d.Start(t.Context(), m.ID); err != nil {
						t.Fatal(err)
					}
				}
				var parents []compute.Point
				if f.Parent != nil {
					end(t, d, begin(t, d, m, "01parent.1"), compute.Committed)
					become(t, d, m, f.Parent, f.Image)
					parents = append(parents, "01parent.1")
				}
				if start && !live {
					if err := d.Stop(t.Context(), m.ID, 0); err != nil {
						t.Fatal(err)
					}
				}
				return openPoint(t, d, m, parents...)
			}})
		})
	}
}

func TestSink(t *testing.T) {
	disktest.TestSink(t, disktest.Sinks{Create: func(t *testing.T, size int64) (disk.Sink, func(*testing.T) []byte) {
		d, m := newDriver(t), machine(size)
		define(t, d, m, false)
		s, err := d.Fill(t.Context(), m.ID, "disk0")
		if err != nil {
			t.Fatal(err)
		}
		return s, func(t *testing.T) []byte {
			src := openPoint(t, d, m)
			defer src.Close()
			return content(t, src)
		}
	}})
}

func TestFillRefusesStartAndPoints(t *testing.T) {
	d, m := newDriver(t), machine(mib)
	define(t, d, m, false)
	s, err := d.Fill(t.Context(), m.ID, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), m.ID); err == nil || !strings.Contains(err.Error(), "being filled") {
		t.Errorf("start: %v", err)
	}
	_, err = d.Begin(t.Context(), compute.PointRequest{Machine: m.ID, Point: "01a.1"}, func(compute.Handle) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "being filled") {
		t.Errorf("begin: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Start(t.Context(), m.ID); err != nil {
		t.Error(err)
	}
}
