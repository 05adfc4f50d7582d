package mem_test

import (
	"errors"
	"testing"

	"holdfast/disk"
	"holdfast/disk/disktest"
	"holdfast/disk/mem"
)

// write writes the parts of next that differ from before, as a guest would.
func write(t *testing.T, d *mem.Disk, before, next []byte) {
	t.Helper()
	const step = 512
	for at := 0; at < len(next); at += step {
		if string(before[at:at+step]) != string(next[at:at+step]) {
			if _, err := d.WriteAt(next[at:at+step], int64(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSnapshotConforms(t *testing.T) {
	disktest.TestSource(t, disktest.Sources{
		Tracking: true,
		Open: func(t *testing.T, f disktest.SourceFixture) disk.Source {
			d := mem.New(int64(len(f.Image)))
			before := make([]byte, len(f.Image))
			var parent *mem.Snapshot
			if f.Parent != nil {
				write(t, d, before, f.Parent)
				before, parent = f.Parent, d.Snapshot(nil)
			}
			write(t, d, before, f.Image)
			s := d.Snapshot(parent)
			// The instant has passed: what comes later must not be seen.
			if _, err := d.WriteAt([]byte("written later"), 250_000); err != nil {
				t.Fatal(err)
			}
			return s
		},
	})
}

func TestDiskConforms(t *testing.T) {
	disktest.TestSink(t, disktest.Sinks{
		Create: func(_ *testing.T, size int64) (disk.Sink, func(*testing.T) []byte) {
			d := mem.New(size)
			return d, func(t *testing.T) []byte {
				p := make([]byte, size)
				if _, err := d.Snapshot(nil).ReadAt(p, 0); err != nil {
					t.Fatal(err)
				}
				return p
			}
		},
	})
}

func TestLimitIsNoSpace(t *testing.T) {
	d := mem.New(1 << 40)
	d.SetLimit(128 << 10)
	n, err := d.WriteAt(make([]byte, 256<<10), 1<<39)
	if n != 128<<10 || !errors.Is(err, disk.ErrNoSpace) {
		t.Fatalf("got %d, %v", n, err)
	}
	if _, err := d.WriteAt([]byte("x"), 1<<39); err != nil {
		t.Fatalf("rewriting needs no space: %v", err)
	}
}

func TestLostSnapshot(t *testing.T) {
	s := mem.New(1 << 20).Snapshot(nil)
	s.Lose()
	if _, err := s.ReadAt(make([]byte, 1), 0); !errors.Is(err, disk.ErrPointLost) {
		t.Errorf("read: %v", err)
	}
	for _, err := range s.Extents(t.Context()) {
		if !errors.Is(err, disk.ErrPointLost) {
			t.Errorf("extents: %v", err)
		}
	}
}
