package guestlog

import (
	"fmt"
	"io"
)

// Device is a disk as the writer sees it. Each WriteAt has to be durable when
// it returns, else the log proves nothing.
type Device interface {
	io.ReaderAt
	io.WriterAt
}

// Writer appends entries to one log over several disks. It is not safe for
// concurrent use.
type Writer struct {
	disks []Device
	log   uint64
	last  uint64
	slot  []byte
}

// NewWriter continues the log that the disks hold, or begins one named log
// (any value but 0) on disks without one. slot is the buffer that is handed to
// WriteAt, of SlotSize bytes: direct I/O wants it aligned.
func NewWriter(log uint64, slot []byte, disks ...Device) (*Writer, error) {
	readers := make([]io.ReaderAt, len(disks))
	for i, d := range disks {
		readers[i] = d
	}
	state, err := Verify(readers...)
	if err != nil {
		return nil, fmt.Errorf("continue log: %w", err)
	}
	if state.Log != 0 {
		log = state.Log
	}
	// An entry that not all disks have is written again, with the same bytes.
	return &Writer{disks: disks, log: log, last: state.Last[len(disks)-1], slot: slot}, nil
}

// Append writes the next entry to every disk, in order.
func (w *Writer) Append() error {
	next := w.last + 1
	for i, d := range w.disks {
		entry{log: w.log, disk: uint32(i), seq: next}.encode(w.slot)             //nolint:gosec // a handful of disks
		if _, err := d.WriteAt(w.slot, int64(next%Slots)*SlotSize); err != nil { //nolint:gosec // below Size
			return fmt.Errorf("append entry %d to disk %d: %w", next, i, err)
		}
	}
	w.last = next
	return nil
}

// Last is the number of the last entry that every disk has.
func (w *Writer) Last() uint64 { return w.last }
