// Package qmp is a client of QEMU's machine protocol: greeting, capabilities,
// commands with contexts, and events, over one unix socket, with bounds on all
// that the other side sends.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// maxLine bounds one message; the largest real ones are schemas of ≈ 300 KiB.
	maxLine = 8 << 20
	// maxEvents wait to be read; later ones push the oldest out.
	maxEvents = 256
)

// ErrClosed is wrapped by what fails because the connection has ended.
var ErrClosed = errors.New("qmp: connection ended")

// ErrProtocol is wrapped by what fails because the other side is not QMP.
var ErrProtocol = errors.New("qmp: protocol violation")

// Error is the hypervisor's refusal of a command.
type Error struct {
	Command string
	Class   string
	Desc    string
}

// Error names the command and the reason.
func (e *Error) Error() string { return fmt.Sprintf("qmp: %s: %s", e.Command, e.Desc) }

// Event is something the hypervisor said unasked.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
	// Time is the hypervisor's clock.
	Time time.Time `json:"-"`
}

// Version of the hypervisor, from its greeting.
type Version struct {
	Major, Minor, Micro int
}

// Client is one QMP connection. Its methods are safe for concurrent use.
type Client struct {
	c       net.Conn
	version Version
	events  chan Event
	done    chan struct{}

	wmu     sync.Mutex
	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan answer
	err     error
}

type answer struct {
	ret json.RawMessage
	err *Error
}

// Dial connects to a monitor's socket and leaves negotiation mode.
func Dial(ctx context.Context, socket string) (*Client, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("qmp: %w", err)
	}
	return New(ctx, c)
}

// New negotiates on an established connection, which it owns from then on, on
// failure too. A monitor serves one client at a time, so the greeting may be
// as late as the former one's end: bound it by ctx.
func New(ctx context.Context, c net.Conn) (*Client, error) {
	q := &Client{
		c: c, events: make(chan Event, maxEvents), done: make(chan struct{}),
		pending: map[uint64]chan answer{},
	}
	sc := bufio.NewScanner(c)
	sc.Buffer(make([]byte, 4096), maxLine)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	err := q.greeting(sc)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, closeQuietly(c))
	}
	go q.loop(sc)
	if err := q.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

func closeQuietly(c net.Conn) error {
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (q *Client) greeting(sc *bufio.Scanner) error {
	if !sc.Scan() {
		return fmt.Errorf("qmp: no greeting: %w", ended(sc.Err()))
	}
	var g struct {
		QMP *struct {
			Version struct {
				QEMU struct {
					Major int `json:"major"`
					Minor int `json:"minor"`
					Micro int `json:"micro"`
				} `json:"qemu"`
			} `json:"version"`
		} `json:"QMP"`
	}
	if err := json.Unmarshal(sc.Bytes(), &g); err != nil || g.QMP == nil {
		return fmt.Errorf("%w: greeting %.80q", ErrProtocol, sc.Bytes())
	}
	q.version = Version(g.QMP.Version.QEMU)
	return nil
}

func ended(err error) error {
	if err == nil {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// Version of the hypervisor.
func (q *Client) Version() Version { return q.version }

// Events delivers what the hypervisor says unasked. It is closed when the
// connection ends; a reader too slow loses the oldest.
func (q *Client) Events() <-chan Event { return q.events }

// Done is closed when the connection has ended, by either side.
func (q *Client) Done() <-chan struct{} { return q.done }

// Close ends the connection. It is idempotent.
func (q *Client) Close() error {
	q.fail(ErrClosed)
	<-q.done
	return nil
}

func (q *Client) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.mu.Unlock()
	_ = q.c.Close() // what matters is err
}
