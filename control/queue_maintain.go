package control

import (
	"context"
	"errors"
	"time"

	"holdfast/store"
)

const (
	maintainEvery = 10 * time.Minute
	maintainBatch = 500
)

// Maintain clears away what has served its time, now and then until ctx ends:
// answers kept for idempotency that are older than a day, and limits of callers that
// owe nothing. Expired leases need no sweeper, for the next claim takes them.
func (q *Queue) Maintain(ctx context.Context) {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		if err := q.maintainOnce(ctx); err != nil && ctx.Err() == nil {
			q.log.WarnContext(ctx, "cannot clear away old rows", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// maintainOnce works in small transactions, so that nobody waits for it long.
func (q *Queue) maintainOnce(ctx context.Context) error {
	return errors.Join(
		q.clear(ctx, func(tx *store.Tx) (int, error) { return tx.ExpireIdempotent(ctx, onceAge, maintainBatch) }),
		q.clear(ctx, func(tx *store.Tx) (int, error) { return tx.ForgetLimits(ctx, maintainBatch) }))
}

func (q *Queue) clear(ctx context.Context, some func(*store.Tx) (int, error)) error {
	for {
		var n int
		err := q.store.TxLease(ctx, func(tx *store.Tx) error {
			var err error
			n, err = some(tx)
			return err
		})
		if err = errors.Join(err, ctx.Err()); err != nil || n < maintainBatch {
			return err
		}
	}
}
