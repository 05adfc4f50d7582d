package control

import (
	"context"
	"errors"
	"time"

	"holdfast"
	"holdfast/store"
)

// Once names a request that must take effect at most once, however often it is
// sent. nil: the caller did not ask for that.
type Once struct {
	Method string
	Path   string
	Key    string // the caller's choice
	// Fingerprint of the body: the same key with another one is refused.
	Fingerprint string
	// Answer says what will be answered, to be kept in the same transaction
	// that the request takes effect in: both hold or neither does, whenever
	// this process dies. It must have no effect.
	Answer func(holdfast.Operation) (Answer, error)
}

// Answer to a request, as it is kept. It holds no secrets.
type Answer struct {
	Status int
	Body   []byte
}

// onceAge is how long an answer is kept.
const onceAge = 24 * time.Hour

// owner of the rows is always the same: none is ever committed without its
// answer, so that a dead process leaves nothing behind that needs an owner.
const onceOwner = "control"

func (o *Once) key(caller Caller) store.IdempotencyKey {
	return store.IdempotencyKey{Account: caller.Account, Caller: caller.Key.String(), Method: o.Method, Path: o.Path, Key: o.Key}
}

func (o *Once) known(r store.IdempotentRequest) (*Answer, error) {
	if r.Fingerprint != o.Fingerprint {
		return nil, holdfast.E(holdfast.CodeIdempotencyKeyReused, "This Idempotency-Key was used for another request. Use a new one for every new request.")
	}
	return &Answer{Status: r.Status, Body: r.Body}, nil
}

// Replay finds the answer that a request was given before: nil if there is
// none. It is asked before anything else is looked at, so that a repeated
// request gets the same answer whatever has happened since.
func (c *Control) Replay(ctx context.Context, caller Caller, o *Once) (*Answer, error) {
	const op = "control.Replay"
	if o == nil {
		return nil, nil
	}
	r, err := c.store.IdempotentRequest(ctx, o.key(caller))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, told(op, err)
	}
	now, err := c.store.Now(ctx)
	if err != nil {
		return nil, told(op, err)
	}
	if !r.Done || now.Sub(r.CreatedAt) >= onceAge {
		return nil, nil
	}
	return o.known(r)
}

// Accepted is what became of a command: the operation that it queued, or the
// answer that the same request was given before.
type Accepted struct {
	Operation holdfast.Operation
	Replay    *Answer
}

// once runs the command do in one transaction, unless the request took effect
// before. A duplicate that comes at the same time waits here: the database lets
// one of them take the key first.
func (c *Control) once(ctx context.Context, op string, caller Caller, o *Once, do func(tx *store.Tx) (holdfast.Operation, error)) (Accepted, error) {
	return c.onceBy(ctx, c.write, op, caller, o, do)
}

// onceBy is once with a transaction of the caller's choice.
func (*Control) onceBy(ctx context.Context, write func(context.Context, string, func(*store.Tx) error) error, op string, caller Caller, o *Once, do func(tx *store.Tx) (holdfast.Operation, error)) (Accepted, error) {
	var out Accepted
	err := write(ctx, op, func(tx *store.Tx) (err error) {
		out.Replay, err = o.run(ctx, tx, caller, func() (answer func() (Answer, error), err error) {
			out.Operation, err = do(tx)
			return func() (Answer, error) { return o.Answer(out.Operation) }, err
		})
		return err
	})
	return out, err
}

// run runs do within a transaction, unless the request took effect before: then it
// says what was answered. What do returns makes the answer that is kept.
func (o *Once) run(ctx context.Context, tx *store.Tx, caller Caller, do func() (answer func() (Answer, error), err error)) (*Answer, error) {
	if o != nil {
		if replay, err := o.take(ctx, tx, caller); err != nil || replay != nil {
			return replay, err
		}
	}
	answer, err := do()
	if err != nil || o == nil {
		return nil, err
	}
	a, err := answer()
	if err != nil {
		return nil, err
	}
	return nil, tx.CompleteIdempotent(ctx, o.key(caller), onceOwner, a.Status, nil, a.Body)
}

// take takes the key, or says what was answered under it.
func (o *Once) take(ctx context.Context, tx *store.Tx, caller Caller) (*Answer, error) {
	key := o.key(caller)
	if err := tx.ForgetIdempotent(ctx, key, onceAge); err != nil {
		return nil, err
	}
	known, first, err := tx.BeginIdempotent(ctx, key, o.Fingerprint, onceOwner)
	if err != nil || first {
		return nil, err
	}
	return o.known(known)
}
