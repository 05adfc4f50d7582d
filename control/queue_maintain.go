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
// answers kept for idempotency that are older than a day. Expired leases need
// no sweeper, for the next claim takes them.
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
	for {
		var n int
		err := q.store.TxLease(ctx, func(tx *store.Tx) error {
			var err error
			n, err = tx.ExpireIdempotent(ctx, onceAge, maintainBatch)
			return err
		})
		if err = errors.Join(err, ctx.Err()); err != nil || n < maintainBatch {
			return err
		}
	}
}
