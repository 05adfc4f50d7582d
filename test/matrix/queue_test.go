package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"

	"holdfast"
	"holdfast/operation"
)

var errDead = errors.New("the service is dead")

// queue holds one operation and its journal, and outlives the service.
type queue struct {
	mu      sync.Mutex
	op      holdfast.Operation
	entries map[string]json.RawMessage
	outcome *operation.Outcome
	ended   chan struct{} // closed with the outcome
}

func newQueue(op holdfast.Operation) *queue {
	return &queue{op: op, entries: map[string]json.RawMessage{}, ended: make(chan struct{})}
}

// door is the queue as one life of the service sees it.
type door struct {
	*queue

	life *life
}

func (d door) held(l operation.Lease) error {
	if d.life.dead.Load() || l.Epoch != d.op.Epoch || d.outcome != nil {
		return operation.ErrLeaseLost
	}
	return nil
}

func (d door) Claim(context.Context, operation.ClaimRequest) (holdfast.Operation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life.dead.Load() || d.outcome != nil || d.life.busy {
		return holdfast.Operation{}, operation.ErrNone
	}
	d.life.busy = true
	d.op.Epoch++
	return d.op, nil
}

func (d door) Renew(_ context.Context, l operation.Lease, _ time.Duration, _ holdfast.Progress) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return false, d.held(l)
}

func (d door) Journal(_ context.Context, l operation.Lease, key string, value json.RawMessage) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.held(l); err != nil {
		return err
	}
	d.entries[key] = value
	return nil
}

func (d door) Entries(_ context.Context, l operation.Lease) (map[string]json.RawMessage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.entries), d.held(l)
}

func (d door) Finish(_ context.Context, l operation.Lease, o operation.Outcome) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.held(l); err != nil {
		return err
	}
	if o.Retry {
		d.op.Attempts++
		d.life.busy = false
		return nil
	}
	d.outcome = &o
	close(d.ended)
	return nil
}
