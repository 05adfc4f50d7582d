package disktest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"holdfast/disk"
)

// Sinks is the harness of TestSink.
type Sinks struct {
	// Create returns a new Sink of size bytes, and what reads all of the disk
	// once the suite has closed the Sink.
	Create func(t *testing.T, size int64) (disk.Sink, func(t *testing.T) []byte)
}

// SinkSize is the size of every sink of the suite, in bytes.
const SinkSize = 2 << 20

// TestSink checks everything that disk.Sink promises.
func TestSink(t *testing.T, h Sinks) {
	cases := []struct {
		name string
		// fill writes to the sink, and the same to want.
		fill func(t *testing.T, s disk.Sink, want []byte)
	}{
		{"starts as zeros", func(*testing.T, disk.Sink, []byte) {}},
		{"keeps what is written anywhere", sinkWrites},
		{"refuses what lies outside", sinkOutside},
		{"is safe for concurrent use", sinkConcurrent},
		{"honours the context in Sync", sinkContext},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, read := h.Create(t, SinkSize)
			if s.Size() != SinkSize {
				t.Fatalf("size %d, want %d", s.Size(), SinkSize)
			}
			want := make([]byte, SinkSize)
			c.fill(t, s, want)
			must(t, s.Sync(t.Context()))
			must(t, s.Close())
			if got := read(t); !bytes.Equal(got, want) {
				t.Errorf("the disk has %d bytes, not the ones that were written", len(got))
			}
			if n, err := s.WriteAt([]byte("x"), 0); n != 0 || err == nil {
				t.Errorf("write after close: %d, %v", n, err)
			}
		})
	}
}

func sinkWrite(t *testing.T, s disk.Sink, want, data []byte, off int) {
	t.Helper()
	if n, err := s.WriteAt(data, int64(off)); n != len(data) || err != nil {
		t.Errorf("write %d bytes at %d: %d, %v", len(data), off, n, err)
	}
	copy(want[off:], data)
}

func sinkWrites(t *testing.T, s disk.Sink, want []byte) {
	random := rand.New(rand.NewPCG(4, 5))
	source := rand.NewChaCha8([32]byte{2})
	for range 100 {
		data := make([]byte, random.IntN(100_000))
		if _, err := source.Read(data); err != nil {
			t.Fatal(err)
		}
		sinkWrite(t, s, want, data, random.IntN(SinkSize-len(data)))
	}
	sinkWrite(t, s, want, make([]byte, 70_000), 65_000) // zeros over data
	sinkWrite(t, s, want, []byte("last"), SinkSize-4)
	sinkWrite(t, s, want, nil, SinkSize)
}

func sinkOutside(t *testing.T, s disk.Sink, _ []byte) {
	for _, off := range []int64{-1, SinkSize - 3, SinkSize, 1 << 62} {
		if _, err := s.WriteAt([]byte("late"), off); err == nil {
			t.Errorf("a write at %d succeeded", off)
		} else if errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("a write at %d is called a full disk: %v", off, err)
		}
	}
}

func sinkConcurrent(t *testing.T, s disk.Sink, want []byte) {
	const workers = 8
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			// Interleaved pieces off every boundary: neighbours share pages.
			for piece := worker; piece < 200; piece += workers {
				sinkWrite(t, s, want, bytes.Repeat([]byte{byte(piece + 1)}, 777), piece*777)
			}
		})
	}
	group.Wait()
}

func sinkContext(t *testing.T, s disk.Sink, _ []byte) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("sync with a cancelled context: %v", err)
	}
}
