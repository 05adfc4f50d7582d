package nbd

import (
	"context"
	"fmt"
	"time"
)

// request waits for its answer. Only the reader touches it between its
// registration and the send on done.
type request struct {
	cmd    uint16
	offset int64
	length int64
	buf    []byte // of a read
	filled int64  // how much of buf has been answered, from its start
	ctxID  uint32 // of a block status
	status []Extent
	failed error
	done   chan error
}

func header(cmd uint16, cookie uint64, offset, length int64) []byte {
	var b [28]byte
	be.PutUint32(b[:], magicRequest)
	be.PutUint16(b[6:], cmd)
	be.PutUint64(b[8:], cookie)
	be.PutUint64(b[16:], uint64(offset)) //nolint:gosec // checked by inRange
	be.PutUint32(b[24:], uint32(length)) //nolint:gosec // bounded by maxRange
	return b[:]
}

func (n *Conn) inRange(offset, length int64) error {
	if offset < 0 || length < 0 || offset > n.info.size-length {
		return fmt.Errorf("nbd: range %d+%d outside the disk of %d bytes", offset, length, n.info.size)
	}
	return nil
}

// do sends one request and waits for its answer. With a buffer the wait cannot
// be left early, because the reader writes to it; the timeout bounds it.
func (n *Conn) do(ctx context.Context, r *request, payload []byte) error {
	select {
	case n.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.done:
		return n.failure()
	}
	r.done = make(chan error, 1)
	if err := n.send(r, payload); err != nil {
		return err
	}
	if r.buf != nil {
		return <-r.done
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err() // the reader takes the late answer and drops it
	}
}

func (n *Conn) send(r *request, payload []byte) error {
	n.wmu.Lock()
	defer n.wmu.Unlock()
	n.mu.Lock()
	if n.err != nil {
		err := n.err
		n.mu.Unlock()
		<-n.slots
		return err
	}
	n.cookie++
	cookie := n.cookie
	if len(n.pending) == 0 {
		n.extend()
	}
	n.pending[cookie] = r
	n.mu.Unlock()
	err := n.c.SetWriteDeadline(time.Now().Add(n.timeout))
	if err == nil {
		_, err = n.c.Write(header(r.cmd, cookie, r.offset, r.length))
	}
	if err == nil && len(payload) > 0 {
		_, err = n.c.Write(payload)
	}
	if err != nil {
		// The reader ends too and answers this request with the failure.
		n.fail(fmt.Errorf("nbd: request: %w", err))
	}
	return nil
}

// extend gives the server the timeout anew. A failure to set it shows in the
// read that follows.
func (n *Conn) extend() { _ = n.c.SetReadDeadline(time.Now().Add(n.timeout)) }

func (n *Conn) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// take removes a request whose answer is complete.
func (n *Conn) take(cookie uint64) {
	n.mu.Lock()
	delete(n.pending, cookie)
	if len(n.pending) == 0 {
		_ = n.c.SetReadDeadline(time.Time{}) // as in extend
	} else {
		n.extend()
	}
	n.mu.Unlock()
	<-n.slots
}
