package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Options of a connection.
type Options struct {
	// Export is the name of the export.
	Export string
	// Contexts are the metadata contexts wanted; one that the export lacks is
	// an error. Each BlockStatus answers for one of them.
	Contexts []string
	// Timeout is how long the server may take for the handshake, and how long
	// it may stay silent with requests in flight; one minute when 0.
	Timeout time.Duration
}

// Conn is one connection to an export. Its methods are safe for concurrent use
// and requests are pipelined. After the first transport or protocol error all
// requests fail with it.
type Conn struct {
	c       net.Conn
	r       *bufio.Reader
	info    info
	timeout time.Duration
	slots   chan struct{}
	done    chan struct{} // closed when the reader has ended

	wmu sync.Mutex // one request is written at a time

	mu      sync.Mutex
	cookie  uint64
	pending map[uint64]*request
	err     error
}

// Dial connects to the export at a unix socket.
func Dial(ctx context.Context, socket string, opt Options) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("nbd: %w", err)
	}
	return New(ctx, c, opt)
}

// New negotiates on an established connection, which it owns from then on, on
// failure too.
func New(ctx context.Context, c net.Conn, opt Options) (*Conn, error) {
	n := &Conn{
		c: c, r: bufio.NewReaderSize(c, 128<<10), timeout: opt.Timeout,
		slots: make(chan struct{}, maxInFlight), done: make(chan struct{}),
		pending: map[uint64]*request{},
	}
	if n.timeout <= 0 {
		n.timeout = time.Minute
	}
	if err := n.negotiate(ctx, opt); err != nil {
		return nil, errors.Join(err, ignoreClosed(c.Close()))
	}
	go n.loop()
	return n, nil
}

func (n *Conn) negotiate(ctx context.Context, opt Options) (err error) {
	stop := context.AfterFunc(ctx, func() { _ = n.c.Close() })
	defer func() {
		if !stop() {
			err = ctx.Err()
		}
	}()
	if err = n.c.SetDeadline(time.Now().Add(n.timeout)); err != nil {
		return err
	}
	rw := struct {
		io.Reader
		io.Writer
	}{n.r, n.c}
	if n.info, err = handshake(rw, opt.Export, opt.Contexts); err != nil {
		return err
	}
	return n.c.SetDeadline(time.Time{})
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Size of the export in bytes.
func (n *Conn) Size() int64 { return n.info.size }

func (n *Conn) has(flag uint16) bool {
	return n.info.flags&flagHasFlags != 0 && n.info.flags&flag != 0
}

// ReadOnly says that the export refuses writes.
func (n *Conn) ReadOnly() bool { return n.has(flagReadOnly) }

// CanTrim says that the export takes Trim.
func (n *Conn) CanTrim() bool { return n.has(flagTrim) && !n.ReadOnly() }

// CanZero says that the export takes WriteZeroes.
func (n *Conn) CanZero() bool { return n.has(flagZeroes) && !n.ReadOnly() }

// MultiConn says that what one connection flushed is seen by all others.
func (n *Conn) MultiConn() bool { return n.has(flagMultiConn) }

// Close says goodbye and ends the connection; requests under way fail with
// ErrClosed. It is idempotent.
func (n *Conn) Close() error {
	n.mu.Lock()
	first := n.err == nil
	if first {
		n.err = ErrClosed
	}
	n.mu.Unlock()
	var err error
	if first {
		// The goodbye is a courtesy: a server that does not read must not keep us.
		if err = n.c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err == nil {
			n.wmu.Lock()
			_, err = n.c.Write(header(cmdDisconnect, 0, 0, 0))
			n.wmu.Unlock()
		}
		if ne := net.Error(nil); errors.Is(err, net.ErrClosed) || errors.As(err, &ne) {
			err = nil // the other side was faster
		}
		err = errors.Join(err, ignoreClosed(n.c.Close()))
	}
	<-n.done
	return err
}

// fail ends the connection with the first error.
func (n *Conn) fail(err error) {
	n.mu.Lock()
	if n.err == nil {
		n.err = err
	}
	n.mu.Unlock()
	_ = n.c.Close() // the error that matters is err
}
