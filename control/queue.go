package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"holdfast"
	"holdfast/operation"
	"holdfast/store"
)

// What a runner may ask for. Runners sit on hosts, and a host may have fallen
// into wrong hands: whatever comes through this door is bounded.
const (
	maxTTL        = 10 * time.Minute
	maxRunnerName = 128 // bytes
	maxMessage    = 500 // characters
	touchEvery    = 10 * time.Second
)

// Queue is the direct door to the operations in the database: the way in for
// runners of this process, and what a door over the network leads to. It is
// safe for concurrent use, as are several on one database.
type Queue struct {
	store *store.Store
	host  holdfast.HostID // "": any
	log   *slog.Logger
	care  Upkeep
}

var (
	_ operation.Queue = (*Queue)(nil)
	_ operation.Wake  = (*Queue)(nil)
)

// NewQueue makes the door for runners that are trusted to name their host.
func NewQueue(s *store.Store, log *slog.Logger) *Queue { return &Queue{store: s, log: log} }

// For is the door for the runners of one host: whatever they say, they reach no
// other host's operations.
func (q *Queue) For(host holdfast.HostID) *Queue {
	return &Queue{store: q.store, host: host, log: q.log, care: q.care}
}

// Woken is closed when an operation was queued by this process.
func (q *Queue) Woken() <-chan struct{} { return q.store.Queued() }

func (q *Queue) held(l operation.Lease) store.Held {
	return store.Held{Job: l.Job, Epoch: l.Epoch, Runner: l.Runner, Host: q.host}
}

// leaseErr makes of the store's failure what a runner understands: what is not
// there is not its own any more.
func leaseErr(op string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s: %w: %w", op, operation.ErrLeaseLost, err)
	}
	return told(op, err)
}

// Claim takes the oldest operation that is due, by the database's clock, in one
// transaction. It counts as a sign of life of the host.
func (q *Queue) Claim(ctx context.Context, req operation.ClaimRequest) (holdfast.Operation, error) {
	const op = "control.Claim"
	if q.host != "" && req.Host != q.host {
		return holdfast.Operation{}, holdfast.E(holdfast.CodeForbidden, "A host claims its own operations only.")
	}
	if req.Runner == "" || len(req.Runner) > maxRunnerName || req.TTL <= 0 || req.TTL > maxTTL {
		return holdfast.Operation{}, holdfast.E(holdfast.CodeInvalidRequest, "A claim needs the name of its runner and a duration of at most 10 minutes.")
	}
	var out holdfast.Operation
	err := q.store.TxLease(ctx, func(tx *store.Tx) error {
		if err := q.touch(ctx, tx, req.Host); err != nil {
			return err
		}
		var err error
		out, err = tx.ClaimOperation(ctx, req.Host, req.Kinds, req.Runner, req.TTL)
		if errors.Is(err, store.ErrNotFound) {
			return nil // the sign of life stays
		}
		return err
	})
	if err != nil {
		return holdfast.Operation{}, told(op, err)
	}
	if out.ID == "" {
		return out, operation.ErrNone
	}
	return out, nil
}

// touch notes a sign of life of a host.
func (*Queue) touch(ctx context.Context, tx *store.Tx, host holdfast.HostID) error {
	if host == "" {
		return nil
	}
	return tx.TouchHost(ctx, host, touchEvery)
}

// Renew extends the lease by ttl from now and publishes the progress.
func (q *Queue) Renew(ctx context.Context, l operation.Lease, ttl time.Duration, p holdfast.Progress) (cancel bool, err error) {
	const op = "control.Renew"
	if ttl <= 0 || ttl > maxTTL {
		return false, holdfast.E(holdfast.CodeInvalidRequest, "A lease lasts at most 10 minutes.")
	}
	err = q.store.TxLease(ctx, func(tx *store.Tx) error {
		o, err := tx.RenewOperation(ctx, q.held(l), ttl, bounded(p))
		if err != nil {
			return err
		}
		cancel = o.Cancel
		return q.touch(ctx, tx, o.HostID)
	})
	return cancel, leaseErr(op, err)
}

func bounded(p holdfast.Progress) holdfast.Progress {
	p.Total = max(p.Total, 0)
	p.Current = min(max(p.Current, 0), p.Total)
	p.Message = cut(p.Message, maxMessage)
	return p
}

// cut is s, valid, and at most n characters of it.
func cut(s string, n int) string {
	r := []rune(s[:min(len(s), 4*n)])
	return string(r[:min(len(r), n)])
}

// deletes are the kinds that must work on a full disk.
var deletes = map[holdfast.Kind]bool{holdfast.KindBackupDelete: true, holdfast.KindVPSDelete: true, holdfast.KindSnapshotDelete: true, holdfast.KindGenerationDrop: true}

// Journal stores an entry under its key.
func (q *Queue) Journal(ctx context.Context, l operation.Lease, key string, value json.RawMessage) error {
	const op = "control.Journal"
	if !json.Valid(value) {
		return holdfast.E(holdfast.CodeInvalidRequest, "A journal entry is JSON.")
	}
	o, err := q.store.HeldOperation(ctx, q.held(l))
	if err != nil {
		return leaseErr(op, err)
	}
	write := q.store.Tx
	if deletes[o.Kind] {
		write = q.store.TxUrgent
	}
	return leaseErr(op, write(ctx, func(tx *store.Tx) error { return tx.PutJournal(ctx, q.held(l), key, value) }))
}

// Entries are all journal entries of the operation.
func (q *Queue) Entries(ctx context.Context, l operation.Lease) (map[string]json.RawMessage, error) {
	const op = "control.Entries"
	if _, err := q.store.HeldOperation(ctx, q.held(l)); err != nil {
		return nil, leaseErr(op, err)
	}
	m, err := q.store.Journal(ctx, l.Job)
	return m, told(op, err)
}

// Finish ends the lease with an outcome, in one transaction with all that
// follows from it. A retry with a delay counts as an attempt; one without is a
// runner that goes, and does not.
func (q *Queue) Finish(ctx context.Context, l operation.Lease, out operation.Outcome) error {
	h := q.held(l)
	err := q.store.TxUrgent(ctx, func(tx *store.Tx) error {
		if out.Retry {
			return tx.GiveBack(ctx, h, out.RetryAfter, out.RetryAfter > 0)
		}
		o, err := tx.HeldOperation(ctx, h)
		if err != nil {
			return err
		}
		end := &ending{tx: tx, op: o, care: q.care}
		if end.now, err = tx.Now(ctx); err != nil {
			return err
		}
		result, failure, err := end.settle(ctx, out)
		if err != nil {
			return err
		}
		if end.refused != nil {
			q.log.ErrorContext(ctx, "the report of an operation does not hold", "job", o.ID, "kind", o.Kind, "host", o.HostID, "error", end.refused)
		}
		return tx.EndOperation(ctx, h, result, failure)
	})
	return leaseErr("control.Finish", err)
}
