package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

type command struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id"`
}

// Execute runs a command and decodes its result to out, unless that is nil. A
// refusal is an *Error. When ctx ends first, the command may still be done.
func (q *Client) Execute(ctx context.Context, name string, args, out any) error {
	ch := make(chan answer, 1)
	id, err := q.register(ch)
	if err != nil {
		return fmt.Errorf("qmp: %s: %w", name, err)
	}
	defer q.forget(id)
	b, err := json.Marshal(command{Execute: name, Arguments: args, ID: id})
	if err != nil {
		return fmt.Errorf("qmp: %s: %w", name, err)
	}
	if err := q.write(ctx, append(b, '\n')); err != nil {
		return fmt.Errorf("qmp: %s: %w", name, err)
	}
	select {
	case a, ok := <-ch:
		return q.result(name, a, ok, out)
	case <-ctx.Done():
		return fmt.Errorf("qmp: %s: %w", name, ctx.Err())
	}
}

func (q *Client) result(name string, a answer, ok bool, out any) error {
	switch {
	case !ok:
		q.mu.Lock()
		defer q.mu.Unlock()
		return fmt.Errorf("qmp: %s: %w", name, q.err)
	case a.err != nil:
		a.err.Command = name
		return a.err
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(a.ret, out); err != nil {
		return fmt.Errorf("qmp: %s: %w: result: %w", name, ErrProtocol, err)
	}
	return nil
}

func (q *Client) register(ch chan answer) (uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return 0, q.err
	}
	q.next++
	q.pending[q.next] = ch
	return q.next, nil
}

func (q *Client) forget(id uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, id)
}

// write sends one line. A monitor always reads; one that does not within ten
// seconds is given up, since half a line cannot be taken back.
func (q *Client) write(ctx context.Context, b []byte) error {
	q.wmu.Lock()
	defer q.wmu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	err := q.c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if err == nil {
		_, err = q.c.Write(b)
	}
	if err != nil {
		q.fail(ended(err))
	}
	return err
}

// message is any line of the hypervisor after its greeting.
type message struct {
	ID     *uint64         `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

func (q *Client) loop(sc *bufio.Scanner) {
	defer close(q.done)
	defer close(q.events)
	for sc.Scan() {
		var m message
		if err := json.Unmarshal(sc.Bytes(), &m); err != nil {
			q.fail(fmt.Errorf("%w: line %.80q", ErrProtocol, sc.Bytes()))
			break
		}
		if m.Event != "" {
			q.event(m)
			continue
		}
		if err := q.deliver(m); err != nil {
			q.fail(err)
			break
		}
	}
	q.fail(ended(sc.Err()))
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, ch := range q.pending {
		delete(q.pending, id)
		close(ch)
	}
}

func (q *Client) event(m message) {
	e := Event{
		Name: m.Event, Data: m.Data,
		Time: time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000),
	}
	for {
		select {
		case q.events <- e:
			return
		default:
		}
		select {
		case <-q.events:
		default:
		}
	}
}

func (q *Client) deliver(m message) error {
	if m.ID == nil {
		if m.Error != nil {
			return fmt.Errorf("%w: %s", ErrProtocol, m.Error.Desc)
		}
		return fmt.Errorf("%w: answer without an id", ErrProtocol)
	}
	a := answer{ret: m.Return}
	if m.Error != nil {
		a.err = &Error{Class: m.Error.Class, Desc: m.Error.Desc}
	} else if m.Return == nil {
		return fmt.Errorf("%w: neither a return nor an error", ErrProtocol)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if ch := q.pending[*m.ID]; ch != nil { // else its caller has left
		delete(q.pending, *m.ID)
		ch <- a
	}
	return nil
}
