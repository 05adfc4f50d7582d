// Package agent is a client of QEMU's guest agent, as far as freezing file
// systems goes. All that it reads comes from a guest, so every answer is bounded
// in bytes, and every call in time by its context.
package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

const (
	// maxLine bounds an answer; those that matter here have less than 100 bytes.
	maxLine = 16 << 10
	// maxCall bounds what one call reads before its answer: what a guest had
	// still to say to somebody else.
	maxCall = 256 << 10
	// delimiter begins the answer to a sync: it is in no JSON.
	delimiter = 0xFF
)

// ErrProtocol is wrapped by what fails because the other side is no guest agent.
var ErrProtocol = errors.New("agent: protocol violation")

// Error is the agent's refusal of a command. Its text is a guest's.
type Error struct {
	Command string
	Desc    string
}

// Error names the command and what the guest says.
func (e *Error) Error() string { return fmt.Sprintf("agent: %s: %.200q", e.Command, e.Desc) }

// Client is one conversation with the agent of one guest. It is used by one
// goroutine at a time. A call that failed for another reason than *Error leaves
// answers outstanding: Sync comes next.
type Client struct {
	c net.Conn
	r *bufio.Reader
}

// New begins a conversation on a connection to the agent's channel, which the
// Client owns from then on.
func New(c net.Conn) *Client { return &Client{c: c, r: bufio.NewReaderSize(c, maxLine)} }

// Close ends the conversation.
func (a *Client) Close() error { return a.c.Close() }

// Sync makes sure that there is an agent, and that the next answer is that to
// the next command: what a former conversation left is thrown away
// (guest-sync-delimited).
func (a *Client) Sync(ctx context.Context) error {
	// Every JSON has it exactly, and the guest is told it: it is no secret.
	id := rand.Int64N(1 << 53) //nolint:gosec // see above
	return a.call(ctx, "guest-sync-delimited", fmt.Appendf([]byte{delimiter}, `{"execute":"guest-sync-delimited","arguments":{"id":%d}}`+"\n", id), func(line []byte) (bool, error) {
		at := bytes.LastIndexByte(line, delimiter)
		if at < 0 {
			return false, nil
		}
		var answer struct {
			Return *int64 `json:"return"`
		}
		err := json.Unmarshal(line[at+1:], &answer)
		// Others are answers to syncs that nobody waited for any more.
		return err == nil && answer.Return != nil && *answer.Return == id, nil
	})
}

// Freeze freezes all file systems of the guest and says how many.
func (a *Client) Freeze(ctx context.Context) (int64, error) {
	return a.count(ctx, "guest-fsfreeze-freeze")
}

// Thaw thaws them and says how many were frozen; 0 when none was.
func (a *Client) Thaw(ctx context.Context) (int64, error) {
	return a.count(ctx, "guest-fsfreeze-thaw")
}

// ThawBlindly asks for the thaw without waiting for the answer: an agent that
// is late with a freeze finds it next.
func (a *Client) ThawBlindly(ctx context.Context) error {
	return a.write(ctx, command("guest-fsfreeze-thaw"))
}

func command(name string) []byte { return fmt.Appendf(nil, `{"execute":%q}`+"\n", name) }

func (a *Client) count(ctx context.Context, name string) (n int64, err error) {
	err = a.call(ctx, name, command(name), func(line []byte) (bool, error) {
		var answer struct {
			Return *int64 `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		switch err := json.Unmarshal(line, &answer); {
		case err != nil || answer.Return == nil && answer.Error == nil:
			return false, fmt.Errorf("%w: answer %.80q", ErrProtocol, line)
		case answer.Error != nil:
			return true, &Error{Command: name, Desc: answer.Error.Desc}
		}
		n = *answer.Return
		return true, nil
	})
	return n, err
}

// call writes a line and gives lines to accept until it takes one.
func (a *Client) call(ctx context.Context, name string, line []byte, accept func([]byte) (bool, error)) error {
	err := a.write(ctx, line)
	if err == nil {
		err = a.read(ctx, accept)
	}
	if _, refused := errors.AsType[*Error](err); err == nil || refused {
		return err
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.DeadlineExceeded // the connection's clock was a little ahead
	}
	return fmt.Errorf("agent: %s: %w", name, err)
}

func (a *Client) write(ctx context.Context, line []byte) error {
	defer a.until(ctx)()
	_, err := a.c.Write(line)
	return err
}

func (a *Client) read(ctx context.Context, accept func([]byte) (bool, error)) error {
	defer a.until(ctx)()
	for read := 0; read <= maxCall; {
		line, err := a.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w: a line of more than %d bytes", ErrProtocol, maxLine)
		}
		if err != nil {
			return err
		}
		read += len(line)
		if done, err := accept(line); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: no answer within %d bytes", ErrProtocol, maxCall)
}

// until makes the connection's calls end with ctx, until the returned function
// is called.
func (a *Client) until(ctx context.Context) (free func()) {
	deadline, _ := ctx.Deadline() // zero: none
	_ = a.c.SetDeadline(deadline) // a closed connection says so when it is used
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = a.c.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done // lest it ends the next call
		}
	}
}
