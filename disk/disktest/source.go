// Package disktest is the conformance suite of disk.Source and disk.Sink: each
// implementation runs it in its own tests.
package disktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"holdfast/disk"
)

// SourceFixture is what a harness has to serve.
type SourceFixture struct {
	// Image is the point in time; ranges of zeros in it were never written.
	Image []byte
	// Parent is the parent point in time, nil for none.
	Parent []byte
}

// Sources is the harness of TestSource.
type Sources struct {
	// Open returns a Source with the fixture's image. The suite closes it; a
	// Cleanup of the harness removes the rest.
	Open func(t *testing.T, f SourceFixture) disk.Source
	// Tracking says that a Source with a parent knows what is clean.
	Tracking bool
}

// SourceSize is the size of every fixture's image, in bytes.
const SourceSize = 4 << 20

// TestSource checks everything that disk.Source promises.
func TestSource(t *testing.T, h Sources) {
	image := testImage()
	cases := []struct {
		name string
		test func(t *testing.T, s disk.Source, image []byte)
	}{
		{"reads any range", sourceReads},
		{"ends reads at its size", sourceEnd},
		{"extents cover the disk and tell no lies", sourceExtents},
		{"extents can be left early and asked for again", sourceExtentsTwice},
		{"extents honour the context", sourceExtentsContext},
		{"is safe for concurrent use", sourceConcurrent},
		{"discards without hurting the neighbours", sourceDiscard},
		{"refuses to read once closed", sourceClosed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := h.Open(t, SourceFixture{Image: bytes.Clone(image)})
			c.test(t, s, image)
			if c.name != "refuses to read once closed" {
				must(t, s.Close())
			}
		})
	}
	t.Run("ends with a hole", func(t *testing.T) { sourceHoles(t, h, image[:1<<20]) })
	t.Run("is nothing but a hole", func(t *testing.T) { sourceHoles(t, h, nil) })
	t.Run("clean ranges equal the parent", func(t *testing.T) { sourceParent(t, h, image) })
}

// testImage has data, holes, data within a hole, and an end off every boundary
// of chunks.
func testImage() []byte {
	image := make([]byte, SourceSize)
	source := rand.NewChaCha8([32]byte{1})
	for _, r := range [][2]int{{0, 300_000}, {1 << 20, 1<<20 + 65536}, {3<<20 + 17, 3<<20 + 4099}, {SourceSize - 5000, SourceSize}} {
		if _, err := source.Read(image[r[0]:r[1]]); err != nil {
			panic(err) // never fails, by its documentation
		}
	}
	return image
}

func sourceReads(t *testing.T, s disk.Source, image []byte) {
	if s.Size() != int64(len(image)) {
		t.Fatalf("size %d, want %d", s.Size(), len(image))
	}
	random := rand.New(rand.NewPCG(1, 2))
	check(t, s, image, 0, len(image))
	for range 200 {
		off := random.IntN(len(image))
		check(t, s, image, off, random.IntN(min(len(image)-off, 200_000)+1))
	}
}

func check(t *testing.T, s disk.Source, image []byte, off, n int) {
	t.Helper()
	p := bytes.Repeat([]byte{0xee}, n)
	got, err := s.ReadAt(p, int64(off))
	if got != n || (err != nil && (!errors.Is(err, io.EOF) || off+n < len(image))) {
		t.Fatalf("read %d bytes at %d: %d, %v", n, off, got, err)
	}
	if !bytes.Equal(p, image[off:off+n]) {
		t.Fatalf("read %d bytes at %d: wrong bytes", n, off)
	}
}

func sourceEnd(t *testing.T, s disk.Source, image []byte) {
	p := make([]byte, 1000)
	n, err := s.ReadAt(p, int64(len(image)-10))
	if n != 10 || !errors.Is(err, io.EOF) || !bytes.Equal(p[:10], image[len(image)-10:]) {
		t.Errorf("read across the end: %d, %v", n, err)
	}
	if n, err := s.ReadAt(p, int64(len(image))); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	if n, err := s.ReadAt(p, int64(len(image))+1<<40); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read behind the end: %d, %v", n, err)
	}
	if n, err := s.ReadAt(p, -1); n != 0 || err == nil {
		t.Errorf("read before the beginning: %d, %v", n, err)
	}
}

// extents collects and checks the form of all extents.
func extents(t *testing.T, s disk.Source) []disk.Extent {
	t.Helper()
	var all []disk.Extent
	next := int64(0)
	for e, err := range s.Extents(t.Context()) {
		must(t, err)
		if e.Offset != next || e.Length <= 0 {
			t.Fatalf("extent %+v follows offset %d", e, next)
		}
		next = e.End()
		all = append(all, e)
	}
	if next != s.Size() {
		t.Fatalf("extents end at %d of %d", next, s.Size())
	}
	return all
}

func sourceExtents(t *testing.T, s disk.Source, image []byte) {
	zeros := int64(0)
	for _, e := range extents(t, s) {
		if e.Clean {
			t.Errorf("extent %+v is clean without a parent", e)
		}
		if e.Zero && len(bytes.Trim(image[e.Offset:e.End()], "\x00")) > 0 {
			t.Errorf("extent %+v is called zero and is not", e)
		}
		if e.Zero {
			zeros += e.Length
		}
	}
	// Two of four MiB are holes of more than 900 KiB each.
	if zeros < 1<<20 {
		t.Errorf("only %d bytes are known to be zeros: holes are not found", zeros)
	}
}

func sourceExtentsTwice(t *testing.T, s disk.Source, _ []byte) {
	for _, err := range s.Extents(t.Context()) {
		must(t, err)
		break
	}
	first := extents(t, s)
	if second := extents(t, s); len(first) != len(second) {
		t.Errorf("%d extents, then %d", len(first), len(second))
	}
}

func sourceExtentsContext(t *testing.T, s disk.Source, _ []byte) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range s.Extents(ctx) {
		if last != nil {
			t.Fatal("iteration went on after an error")
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", last)
	}
}

func sourceConcurrent(t *testing.T, s disk.Source, image []byte) {
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 3)) //nolint:gosec // a test's choice
			p := make([]byte, 70_000)
			for range 50 {
				off := random.IntN(len(image) - len(p))
				if n, err := s.ReadAt(p, int64(off)); n != len(p) || err != nil || !bytes.Equal(p, image[off:off+n]) {
					t.Errorf("read at %d: %d, %v, or wrong bytes", off, n, err)
					return
				}
			}
		})
	}
	extents(t, s)
	group.Wait()
}

func sourceDiscard(t *testing.T, s disk.Source, image []byte) {
	const from, length = 100_001, 77_777 // off every boundary
	must(t, s.Discard(t.Context(), from, length))
	must(t, s.Discard(t.Context(), 0, 0))
	check(t, s, image, 0, from)
	check(t, s, image, from+length, len(image)-from-length)
	// What was discarded must not come back as something else.
	p := make([]byte, length)
	if _, err := s.ReadAt(p, from); err == nil && !bytes.Equal(p, image[from:from+length]) {
		t.Error("a discarded range reads as wrong bytes, without an error")
	}
	if err := s.Discard(t.Context(), int64(len(image))-10, 11); err == nil {
		t.Error("a discard across the end succeeded")
	}
	if err := s.Discard(t.Context(), -1, 1); err == nil {
		t.Error("a discard before the beginning succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Discard(ctx, 0, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("discard with a cancelled context: %v", err)
	}
}

// sourceHoles is a disk with nothing but zeros behind data.
func sourceHoles(t *testing.T, h Sources, data []byte) {
	image := make([]byte, SourceSize)
	copy(image, data)
	s := h.Open(t, SourceFixture{Image: bytes.Clone(image)})
	sourceExtents(t, s, image)
	check(t, s, image, 0, len(image))
	must(t, s.Close())
}

func sourceClosed(t *testing.T, s disk.Source, _ []byte) {
	must(t, s.Close())
	if n, err := s.ReadAt(make([]byte, 10), 0); n != 0 || err == nil {
		t.Errorf("read after close: %d, %v", n, err)
	}
}

func sourceParent(t *testing.T, h Sources, parent []byte) {
	image := bytes.Clone(parent)
	copy(image[200_000:], "changed data")
	copy(image[2<<20:], "data in a former hole")
	clear(image[1<<20 : 1<<20+4096]) // data that became zeros
	s := h.Open(t, SourceFixture{Image: image, Parent: bytes.Clone(parent)})
	check(t, s, image, 0, len(image))
	clean := int64(0)
	for _, e := range extents(t, s) {
		if e.Clean && !bytes.Equal(image[e.Offset:e.End()], parent[e.Offset:e.End()]) {
			t.Errorf("extent %+v is called clean and is not", e)
		}
		if e.Zero && len(bytes.Trim(image[e.Offset:e.End()], "\x00")) > 0 {
			t.Errorf("extent %+v is called zero and is not", e)
		}
		if e.Clean && !e.Zero {
			clean += e.Length
		}
	}
	// Of 300,000 bytes of data at the beginning, one byte range changed.
	if h.Tracking && clean < 150_000 {
		t.Errorf("only %d bytes of data are known to be clean", clean)
	}
	must(t, s.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
