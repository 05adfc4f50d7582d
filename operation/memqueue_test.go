package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"holdfast"
	"holdfast/operation"
)

// memQueue keeps the rules of a queue in memory, and can be made to fail.
type memQueue struct {
	mu      sync.Mutex
	ops     []*memOp
	wake    chan struct{}
	renewed []time.Time
	// fail, when set, is asked before each call.
	fail func(ctx context.Context, call string) error
}

type memOp struct {
	holdfast.Operation
	journal  map[string]json.RawMessage
	outcomes []operation.Outcome
}

func newMemQueue(ops ...holdfast.Operation) *memQueue {
	q := &memQueue{wake: make(chan struct{})}
	for _, o := range ops {
		q.add(o)
	}
	return q
}

func (q *memQueue) add(o holdfast.Operation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	o.Status = holdfast.OperationQueued
	q.ops = append(q.ops, &memOp{Operation: o, journal: map[string]json.RawMessage{}})
	close(q.wake)
	q.wake = make(chan struct{})
}

func (q *memQueue) Woken() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.wake
}

// begin locks the queue; the caller unlocks it.
func (q *memQueue) begin(ctx context.Context, call string) error {
	q.mu.Lock()
	fail := q.fail
	q.mu.Unlock()
	var err error
	if fail != nil {
		err = fail(ctx, call)
	}
	q.mu.Lock()
	return errors.Join(err, ctx.Err())
}

func (q *memQueue) Claim(ctx context.Context, req operation.ClaimRequest) (holdfast.Operation, error) {
	err := q.begin(ctx, "claim")
	defer q.mu.Unlock()
	if err != nil {
		return holdfast.Operation{}, err
	}
	now := time.Now()
	for _, o := range q.ops {
		due := o.Status == holdfast.OperationQueued && !o.NotBefore.After(now)
		if due || o.Status == holdfast.OperationInProgress && o.LeaseUntil.Before(now) {
			o.Status, o.Runner, o.LeaseUntil = holdfast.OperationInProgress, req.Runner, now.Add(req.TTL)
			o.Epoch++
			return o.Operation, nil
		}
	}
	return holdfast.Operation{}, operation.ErrNone
}

func (q *memQueue) held(l operation.Lease) (*memOp, error) {
	for _, o := range q.ops {
		if o.ID == l.Job && o.Epoch == l.Epoch && o.Runner == l.Runner && o.Status == holdfast.OperationInProgress {
			return o, nil
		}
	}
	return nil, operation.ErrLeaseLost
}

func (q *memQueue) Renew(ctx context.Context, l operation.Lease, ttl time.Duration, p holdfast.Progress) (bool, error) {
	err := q.begin(ctx, "renew")
	defer q.mu.Unlock()
	o, lost := q.held(l)
	if err = errors.Join(err, lost); err != nil {
		return false, err
	}
	o.LeaseUntil, o.Progress = time.Now().Add(ttl), p
	q.renewed = append(q.renewed, time.Now())
	return o.Cancel, nil
}

func (q *memQueue) Journal(ctx context.Context, l operation.Lease, key string, v json.RawMessage) error {
	err := q.begin(ctx, "journal")
	defer q.mu.Unlock()
	o, lost := q.held(l)
	if err = errors.Join(err, lost); err != nil {
		return err
	}
	o.journal[key] = v
	return nil
}

func (q *memQueue) Entries(ctx context.Context, l operation.Lease) (map[string]json.RawMessage, error) {
	err := q.begin(ctx, "entries")
	defer q.mu.Unlock()
	o, lost := q.held(l)
	if err = errors.Join(err, lost); err != nil {
		return nil, err
	}
	return maps.Clone(o.journal), nil
}

func (q *memQueue) Finish(ctx context.Context, l operation.Lease, out operation.Outcome) error {
	err := q.begin(ctx, "finish")
	defer q.mu.Unlock()
	o, lost := q.held(l)
	if err = errors.Join(err, lost); err != nil {
		return err
	}
	o.outcomes = append(o.outcomes, out)
	switch {
	case out.Retry:
		o.Status, o.NotBefore = holdfast.OperationQueued, time.Now().Add(out.RetryAfter)
		if out.RetryAfter > 0 {
			o.Attempts++
		}
	case out.Failure != nil:
		o.Status, o.Failure = holdfast.OperationFailed, out.Failure
	default:
		o.Status, o.Result = holdfast.OperationCompleted, out.Report
	}
	return nil
}

func (q *memQueue) setFail(f func(ctx context.Context, call string) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fail = f
}

func (q *memQueue) cancel() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range q.ops {
		o.Cancel = true
	}
}

func (q *memQueue) renewals() []time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.renewed)
}

// see reads the operation at i.
func (q *memQueue) see(i int) memOp {
	q.mu.Lock()
	defer q.mu.Unlock()
	return *q.ops[i]
}
