package nbd

import (
	"context"
	"fmt"
)

// ReadAt reads len(p) bytes at off; it never reads past the end of the disk.
// It fills p whole or returns an error, and p is its own again when it returns.
func (n *Conn) ReadAt(p []byte, off int64) (int, error) {
	if err := n.inRange(off, int64(len(p))); err != nil {
		return 0, err
	}
	for done := 0; done < len(p); {
		b := p[done:min(len(p), done+MaxRequest)]
		r := &request{cmd: cmdRead, offset: off + int64(done), length: int64(len(b)), buf: b}
		if err := n.do(context.Background(), r, nil); err != nil {
			return done, err
		}
		done += len(b)
	}
	return len(p), nil
}

// WriteAt writes p at off. It is durable only after Flush.
func (n *Conn) WriteAt(p []byte, off int64) (int, error) {
	if err := n.inRange(off, int64(len(p))); err != nil {
		return 0, err
	}
	if n.ReadOnly() {
		return 0, fmt.Errorf("%w: write to a read-only export", ErrUnsupported)
	}
	for done := 0; done < len(p); {
		b := p[done:min(len(p), done+MaxRequest)]
		r := &request{cmd: cmdWrite, offset: off + int64(done), length: int64(len(b))}
		if err := n.do(context.Background(), r, b); err != nil {
			return done, err
		}
		done += len(b)
	}
	return len(p), nil
}

// WriteZeroes makes the range read as zeros, without sending them.
func (n *Conn) WriteZeroes(ctx context.Context, off, length int64) error {
	if !n.CanZero() {
		return fmt.Errorf("%w: write zeroes", ErrUnsupported)
	}
	return n.overRange(ctx, cmdWriteZeroes, off, length)
}

// Trim tells the export that the range is not needed.
func (n *Conn) Trim(ctx context.Context, off, length int64) error {
	if !n.CanTrim() {
		return fmt.Errorf("%w: trim", ErrUnsupported)
	}
	return n.overRange(ctx, cmdTrim, off, length)
}

func (n *Conn) overRange(ctx context.Context, cmd uint16, off, length int64) error {
	if err := n.inRange(off, length); err != nil {
		return err
	}
	for length > 0 {
		l := min(length, maxRange)
		if err := n.do(ctx, &request{cmd: cmd, offset: off, length: l}, nil); err != nil {
			return err
		}
		off, length = off+l, length-l
	}
	return nil
}

// Flush makes everything written durable that was answered before the call.
func (n *Conn) Flush(ctx context.Context) error {
	if !n.has(flagFlush) {
		return fmt.Errorf("%w: flush", ErrUnsupported)
	}
	return n.do(ctx, &request{cmd: cmdFlush}, nil)
}

// BlockStatus returns extents of a negotiated context from off on: at least
// one, in order, without gaps, and not further than length; a server may
// answer for less than was asked, so callers go on from the last one's end.
func (n *Conn) BlockStatus(ctx context.Context, name string, off, length int64) ([]Extent, error) {
	if err := n.inRange(off, length); err != nil {
		return nil, err
	}
	if length == 0 {
		return nil, fmt.Errorf("nbd: block status of nothing at %d", off)
	}
	for id, have := range n.info.contexts {
		if have != name {
			continue
		}
		r := &request{cmd: cmdBlockStatus, offset: off, length: min(length, maxRange), ctxID: id}
		if err := n.do(ctx, r, nil); err != nil {
			return nil, err
		}
		last := &r.status[len(r.status)-1]
		last.Length = min(last.Length, off+length-last.Offset)
		return r.status, nil
	}
	return nil, fmt.Errorf("%w: context %q was not negotiated", ErrUnsupported, name)
}
