package guestlog

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// ram is a disk in memory, exactly as long as the log's area.
type ram []byte

func (r ram) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, r[off:])
	if n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

func (r ram) WriteAt(p []byte, off int64) (int, error) { return copy(r[off:], p), nil }

func (r ram) slot(i int) []byte { return r[i*SlotSize:][:SlotSize] }

// cache holds what written made: writing is most of these tests' time.
var cache = map[int][2]ram{}

// written are two disks after n entries.
func written(t *testing.T, n int) (a, b ram) {
	t.Helper()
	disks, found := cache[n]
	if !found {
		disks = [2]ram{make(ram, Size), make(ram, Size)}
		appendTo(t, disks[0], disks[1], n)
		cache[n] = disks
	}
	return slices.Clone(disks[0]), slices.Clone(disks[1])
}

func appendTo(t *testing.T, a, b ram, n int) {
	t.Helper()
	w, err := NewWriter(7, make([]byte, SlotSize), a, b)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := w.Append(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyAcceptsEveryPrefix(t *testing.T) {
	a, b := make(ram, Size), make(ram, Size)
	total := 0
	for _, step := range []int{0, 1, 1, Slots - 3, 1, 1, 17} {
		appendTo(t, a, b, step)
		total += step
		got, err := Verify(a, b)
		if err != nil {
			t.Fatalf("after %d entries: %v", total, err)
		}
		if got.Max() != uint64(total) || got.Last[1] != uint64(total) {
			t.Fatalf("after %d entries: last %v", total, got.Last)
		}
	}
}

func TestVerifyAcceptsTheEntryBeingWritten(t *testing.T) {
	a, b := written(t, 20)
	before := append(ram(nil), b...)
	appendTo(t, a, b, 1)
	got, err := Verify(a, before)
	if err != nil || got.Last[0] != 21 || got.Last[1] != 20 {
		t.Fatalf("got %v, %v", got.Last, err)
	}
	// A guest that was cut off there repeats the entry instead of leaving a gap.
	appendTo(t, a, before, 2)
	if got, err = Verify(a, before); err != nil || got.Last[1] != 22 {
		t.Fatalf("after resuming: %v, %v", got.Last, err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	const n = Slots + 100 // the log has wrapped around
	cases := []struct {
		name   string
		damage func(t *testing.T, a, b ram) (ram, ram)
		want   string
	}{
		{"a torn slot", func(_ *testing.T, a, b ram) (ram, ram) {
			copy(a.slot(50)[2048:], make([]byte, 512))
			return a, b
		}, "disk 0: slot 50 is torn"},
		{"one flipped bit", func(_ *testing.T, a, b ram) (ram, ram) {
			b.slot(9)[4095] ^= 1
			return a, b
		}, "disk 1: slot 9 is torn"},
		{"a slot that reads as zeros", func(_ *testing.T, a, b ram) (ram, ram) {
			clear(a.slot(3000))
			return a, b
		}, "slot 3000 holds entry 0"},
		{"an old write missing beneath newer ones", func(t *testing.T, a, b ram) (ram, ram) {
			old, _ := written(t, n-Slots)
			copy(a.slot(30), old.slot(30))
			return a, b
		}, "slot 30 holds entry 30"},
		{"a write that overtook others", func(t *testing.T, a, b ram) (ram, ram) {
			later, _ := written(t, n+5)
			copy(a.slot((n+5)%Slots), later.slot((n+5)%Slots))
			return a, b
		}, "should be there when 4201 is the last"},
		{"slots exchanged", func(_ *testing.T, a, b ram) (ram, ram) {
			x := append([]byte(nil), a.slot(10)...)
			copy(a.slot(10), a.slot(11))
			copy(a.slot(11), x)
			return a, b
		}, "lives elsewhere"},
		{"second disk of an earlier instant", func(t *testing.T, a, _ ram) (ram, ram) {
			_, earlier := written(t, n-2)
			return a, earlier
		}, "different instants"},
		{"second disk of a later instant", func(t *testing.T, a, _ ram) (ram, ram) {
			_, later := written(t, n+1)
			return a, later
		}, "different instants"},
		{"second disk empty", func(_ *testing.T, a, _ ram) (ram, ram) {
			return a, make(ram, Size)
		}, "different instants"},
		{"disks exchanged", func(_ *testing.T, a, b ram) (ram, ram) { return b, a }, "belongs to disk 1"},
		{"disks of two logs", func(t *testing.T, a, _ ram) (ram, ram) {
			x, y := make(ram, Size), make(ram, Size)
			w, err := NewWriter(8, make([]byte, SlotSize), x, y)
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				if err := w.Append(); err != nil {
					t.Fatal(err)
				}
			}
			return a, y
		}, "another log"},
		{"a short disk", func(_ *testing.T, a, b ram) (ram, ram) { return a[:Size-1], b }, "read disk 0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b := written(t, n)
			a, b = c.damage(t, a, b)
			_, err := Verify(a, b)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}
