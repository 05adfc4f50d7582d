package nbd

import (
	"errors"
	"fmt"
	"io"
)

// loop reads answers until the connection ends, then fails what is pending.
func (n *Conn) loop() {
	defer close(n.done)
	for {
		if err := n.readReply(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			n.fail(fmt.Errorf("nbd: connection lost: %w", err))
			break
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for cookie, r := range n.pending {
		delete(n.pending, cookie)
		<-n.slots
		r.done <- n.err
	}
}

func (n *Conn) find(cookie uint64) (*request, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.pending[cookie]; r != nil {
		return r, nil
	}
	return nil, violation("answer to a request that was not made")
}

func (n *Conn) readReply() error {
	var h [20]byte
	if _, err := io.ReadFull(n.r, h[:16]); err != nil {
		return err
	}
	switch be.Uint32(h[:]) {
	case magicSimple:
		return n.simple(be.Uint64(h[8:]), be.Uint32(h[4:]))
	case magicStructured:
		if _, err := io.ReadFull(n.r, h[16:]); err != nil {
			return err
		}
		c := chunk{
			flags: be.Uint16(h[4:]), kind: be.Uint16(h[6:]),
			cookie: be.Uint64(h[8:]), length: be.Uint32(h[16:]),
		}
		return n.structured(c)
	}
	return violation("magic of a reply")
}

// simple answers are allowed for requests that return no data.
func (n *Conn) simple(cookie uint64, errno uint32) error {
	r, err := n.find(cookie)
	if err != nil {
		return err
	}
	if r.cmd == cmdRead || r.cmd == cmdBlockStatus {
		return violation("simple answer to a request for data")
	}
	if errno != 0 {
		r.failed = &Error{Errno: errno}
	}
	n.take(cookie)
	r.done <- r.failed
	return nil
}

// chunk is the head of one part of a structured answer.
type chunk struct {
	flags, kind uint16
	cookie      uint64
	length      uint32
}

func (n *Conn) structured(c chunk) error {
	r, err := n.find(c.cookie)
	if err != nil {
		return err
	}
	switch {
	case c.kind&chunkErrorBit != 0:
		err = n.errorChunk(r, c)
	case c.kind == chunkNone && c.length == 0 && c.flags&chunkDone != 0:
	case c.kind == chunkOffsetData && r.cmd == cmdRead:
		err = n.dataChunk(r, c)
	case c.kind == chunkOffsetHole && r.cmd == cmdRead:
		err = n.holeChunk(r, c)
	case c.kind == chunkBlockStatus && r.cmd == cmdBlockStatus:
		err = n.statusChunk(r, c)
	default:
		err = violation("chunk type %d of %d bytes answers command %d", c.kind, c.length, r.cmd)
	}
	if err != nil || c.flags&chunkDone == 0 {
		return err
	}
	if r.failed == nil && r.cmd == cmdRead && r.filled != r.length {
		return violation("%d of %d bytes answered", r.filled, r.length)
	}
	if r.failed == nil && r.cmd == cmdBlockStatus && len(r.status) == 0 {
		return violation("block status without extents")
	}
	n.take(c.cookie)
	r.done <- r.failed
	return nil
}

func (n *Conn) errorChunk(r *request, c chunk) error {
	if c.length < 6 || c.length > 6+maxErrorText+8 {
		return violation("error chunk of %d bytes", c.length)
	}
	b := make([]byte, c.length)
	if _, err := io.ReadFull(n.r, b); err != nil {
		return err
	}
	errno, msg := be.Uint32(b), b[6:]
	if l := int(be.Uint16(b[4:])); l <= len(msg) {
		msg = msg[:l]
	} else {
		return violation("error text of %d bytes in %d", l, len(msg))
	}
	if errno == 0 {
		return violation("error chunk without an error")
	}
	if r.failed == nil {
		r.failed = &Error{Errno: errno, Msg: string(msg)}
	}
	return nil
}

// place checks that a part of a read continues where the last one ended. The
// protocol allows any order; QEMU sends ascending, and asking for that makes
// it cheap to know that no byte of the buffer is left over from elsewhere.
func (r *request) place(offset uint64, length int64) ([]byte, error) {
	want := r.offset + r.filled
	if offset != uint64(want) || length <= 0 || length > r.length-r.filled { //nolint:gosec // want ≥ 0
		return nil, violation("part %d+%d of a read of %d+%d at %d", offset, length, r.offset, r.length, want)
	}
	b := r.buf[r.filled : r.filled+length]
	r.filled += length
	return b, nil
}

func (n *Conn) dataChunk(r *request, c chunk) error {
	if c.length < 9 {
		return violation("data chunk of %d bytes", c.length)
	}
	var h [8]byte
	if _, err := io.ReadFull(n.r, h[:]); err != nil {
		return err
	}
	b, err := r.place(be.Uint64(h[:]), int64(c.length)-8)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(n.r, b)
	return err
}

func (n *Conn) holeChunk(r *request, c chunk) error {
	if c.length != 12 {
		return violation("hole chunk of %d bytes", c.length)
	}
	var h [12]byte
	if _, err := io.ReadFull(n.r, h[:]); err != nil {
		return err
	}
	b, err := r.place(be.Uint64(h[:]), int64(be.Uint32(h[8:])))
	clear(b)
	return err
}

func (n *Conn) statusChunk(r *request, c chunk) error {
	if c.length < 12 || c.length > maxStatusChunk || (c.length-4)%8 != 0 {
		return violation("status chunk of %d bytes", c.length)
	}
	var h [8]byte
	if _, err := io.ReadFull(n.r, h[:4]); err != nil {
		return err
	}
	id := be.Uint32(h[:])
	if _, known := n.info.contexts[id]; !known {
		return violation("status of context %d, which was not negotiated", id)
	}
	mine := id == r.ctxID
	if mine && len(r.status) > 0 {
		return violation("two status chunks of one context")
	}
	at := r.offset
	for i := (c.length - 4) / 8; i > 0; i-- {
		if _, err := io.ReadFull(n.r, h[:]); err != nil {
			return err
		}
		l, flags := int64(be.Uint32(h[:])), be.Uint32(h[4:])
		if l == 0 || at >= r.offset+r.length || l > n.info.size-at {
			return violation("status extent %d+%d of a request for %d+%d", at, l, r.offset, r.length)
		}
		if mine {
			r.status = append(r.status, Extent{Offset: at, Length: l, Flags: flags})
		}
		at += l
	}
	return nil
}
