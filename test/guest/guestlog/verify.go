package guestlog

import (
	"errors"
	"fmt"
	"io"
)

// Result is what a log that verified says.
type Result struct {
	// Log identifies the log: equal for all points in time of one guest.
	Log uint64
	// Last is, disk by disk, the number of the last entry; 0 for a log that
	// has not begun.
	Last []uint64
}

// Max is the number of the newest entry on any disk.
func (r Result) Max() uint64 { return r.Last[0] }

// Verify proves that the disks, given in the order in which the guest writes
// them, hold an exact prefix of one log at one instant. The error names the
// first disk and slot that contradict it.
func Verify(disks ...io.ReaderAt) (Result, error) {
	if len(disks) == 0 {
		return Result{}, errors.New("guestlog: no disks given")
	}
	result := Result{Last: make([]uint64, len(disks))}
	for i, disk := range disks {
		found, err := scan(disk, i)
		if err != nil {
			return Result{}, err
		}
		if err := found.prefix(); err != nil {
			return Result{}, fmt.Errorf("guestlog: disk %d: %w", i, err)
		}
		result.Last[i] = found.last
		if found.last == 0 {
			continue
		}
		if result.Log != 0 && result.Log != found.log {
			return Result{}, fmt.Errorf("guestlog: disk %d holds another log than the disks before it", i)
		}
		result.Log = found.log
	}
	for i := 1; i < len(disks); i++ {
		// One writer goes through the disks in order, so only the entry being
		// written can be on a disk and not yet on a later one.
		if result.Last[i] > result.Last[i-1] || result.Last[0]-result.Last[i] > 1 {
			return result, fmt.Errorf("guestlog: disks are of different instants: last entries %v", result.Last)
		}
	}
	return result, nil
}

// contents of the log's area of one disk.
type contents struct {
	log  uint64
	last uint64
	seqs [Slots]uint64 // 0: the slot was never written
}

// scan reads the log's area of the disk at position index; it refuses a slot
// that is neither empty nor whole.
func scan(disk io.ReaderAt, index int) (*contents, error) {
	area := make([]byte, Size)
	if n, err := disk.ReadAt(area, 0); n < len(area) {
		return nil, fmt.Errorf("guestlog: read disk %d: %w", index, err)
	}
	scratch := make([]byte, SlotSize)
	zeros := make([]byte, SlotSize)
	found := new(contents)
	for i := range found.seqs {
		slot := area[i*SlotSize:][:SlotSize]
		if string(slot) == string(zeros) {
			continue
		}
		e, ok := decode(slot, scratch)
		switch {
		case !ok:
			return nil, fmt.Errorf("guestlog: disk %d: slot %d is torn", index, i)
		case e.disk != uint32(index): //nolint:gosec // a handful of disks
			return nil, fmt.Errorf("guestlog: disk %d: slot %d belongs to disk %d", index, i, e.disk)
		case e.seq == 0 || e.seq%Slots != uint64(i): //nolint:gosec // i is not negative
			return nil, fmt.Errorf("guestlog: disk %d: slot %d holds entry %d, which lives elsewhere", index, i, e.seq)
		case found.log != 0 && e.log != found.log:
			return nil, fmt.Errorf("guestlog: disk %d: slot %d is of another log", index, i)
		}
		found.log = e.log
		found.seqs[i] = e.seq
		found.last = max(found.last, e.seq)
	}
	return found, nil
}

// prefix says whether the slots hold exactly the last Slots entries up to last.
func (c *contents) prefix() error {
	for i, seq := range c.seqs {
		var want uint64
		if back := (c.last - uint64(i)) % Slots; back < c.last { //nolint:gosec // i is not negative
			want = c.last - back
		}
		if seq != want {
			return fmt.Errorf("slot %d holds entry %d, but entry %d should be there when %d is the last", i, seq, want, c.last)
		}
	}
	return nil
}
