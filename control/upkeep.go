package control

import (
	"context"
	"errors"
	"time"

	"holdfast"
	"holdfast/store"
)

// Upkeep says which places vaults have, by their names, and when they are
// collected. The zero value keeps nothing up.
type Upkeep struct {
	First  string   // where backups are made
	Copies []string // where they are copied to
	// CollectAfter is how long after a deletion a place is collected, so that
	// several make one collection; 0: never.
	CollectAfter time.Duration
	// Restore says how long the disks from before a restore are kept.
	Restore RestorePolicy
	// Snapshots say how many there may be and for how long.
	Snapshots SnapshotPolicy
}

func (u Upkeep) places() []string { return append([]string{u.First}, u.Copies...) }

// WithUpkeep is the queue that copies completed backups, deletes the copies of
// deleted ones and collects what they leave.
func (q *Queue) WithUpkeep(u Upkeep) *Queue {
	kept := *q
	kept.care = u
	return &kept
}

const (
	upkeepEvery = 15 * time.Second
	upkeepBatch = 100
	// Backups that are to be copied to a place that is new are looked for so often;
	// of each that completes it is noted at once.
	backfillEvery = 10 * time.Minute
)

// Upkeep queues the operations that keep copies and vaults as they should be, on a
// host, and those on snapshots that have expired or are due, until ctx ends. The rows say what is to be done, and an operation that
// fails leaves its row: nothing is forgotten, whatever dies when.
func (q *Queue) Upkeep(ctx context.Context, host holdfast.HostID) {
	tick := time.NewTicker(min(upkeepEvery, max(q.care.CollectAfter, time.Second)))
	defer tick.Stop()
	var filled time.Time
	for {
		woken := q.store.Queued()
		if time.Since(filled) >= backfillEvery {
			if more, err := q.backfill(ctx); err != nil {
				q.warn(ctx, err)
			} else if !more {
				filled = time.Now()
			}
		}
		if err := q.keepUp(ctx, host); err != nil {
			q.warn(ctx, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-woken:
		}
	}
}

func (q *Queue) warn(ctx context.Context, err error) {
	if ctx.Err() == nil {
		q.log.WarnContext(ctx, "cannot plan the upkeep", "error", err)
	}
}

// backfill notes the backups that are to be copied to places that are new.
func (q *Queue) backfill(ctx context.Context) (more bool, err error) {
	for _, place := range q.care.Copies {
		missing, err := q.store.UncopiedBackups(ctx, place, upkeepBatch)
		if err != nil || len(missing) == 0 {
			return more, err
		}
		more = true
		err = q.store.Tx(ctx, func(tx *store.Tx) error {
			now, err := tx.LeaseNow(ctx)
			if err != nil {
				return err
			}
			for i, b := range missing {
				// In the order of their points in time: each is little more than the one before.
				due := now.Add(time.Duration(i-len(missing)) * time.Microsecond)
				c := holdfast.BackupCopy{BackupID: b.ID, AccountID: b.AccountID, Place: place, State: holdfast.CopyPending, DueAt: due}
				if err := tx.InsertCopy(ctx, c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return more, err
		}
	}
	return more, nil
}

// keepUp queues what is due.
func (q *Queue) keepUp(ctx context.Context, host holdfast.HostID) error {
	copies, err := q.store.DueCopies(ctx, q.care.Copies, upkeepBatch)
	if err != nil {
		return err
	}
	for _, c := range copies {
		err = errors.Join(err, q.store.TxUrgent(ctx, func(tx *store.Tx) error { return q.queueCopy(ctx, tx, c, host) }))
	}
	garbage, gerr := q.store.DueGarbage(ctx, q.care.places(), upkeepBatch)
	err = errors.Join(err, gerr)
	for _, g := range garbage {
		o := holdfast.Operation{Kind: holdfast.KindVaultCollect, AccountID: g.AccountID, Place: g.Place, HostID: host}
		err = errors.Join(err, q.store.TxUrgent(ctx, func(tx *store.Tx) error {
			return q.queueUpkeep(ctx, tx, o, holdfast.CollectInput{Deletions: g.Deletions})
		}))
	}
	return errors.Join(err, q.keepGenerations(ctx), q.keepSnapshots(ctx))
}

func (q *Queue) queueCopy(ctx context.Context, tx *store.Tx, c holdfast.BackupCopy, host holdfast.HostID) error {
	o := holdfast.Operation{Kind: holdfast.KindCopy, AccountID: c.AccountID, BackupID: c.BackupID, Place: c.Place, HostID: host}
	if c.State == holdfast.CopyDeleting {
		o.Kind = holdfast.KindCopyDelete
		return q.queueUpkeep(ctx, tx, o, struct{}{})
	}
	b, err := tx.Backup(ctx, c.BackupID)
	if errors.Is(err, store.ErrNotFound) { // no backup, no copy
		from := c.State
		c.State = holdfast.CopyDeleting
		return tx.SetCopy(ctx, c, from)
	}
	if err != nil {
		return err
	}
	if b.Status == holdfast.BackupDeleted {
		return nil // its deletion goes on here when it is done at the first place
	}
	in, err := copyInput(ctx, tx, b)
	if err != nil {
		return err
	}
	return q.queueUpkeep(ctx, tx, o, in)
}

// copyInput names the backups that the copy shares most with.
func copyInput(ctx context.Context, tx *store.Tx, b holdfast.Backup) (holdfast.CopyInput, error) {
	var in holdfast.CopyInput
	completed, err := tx.CompletedBackups(ctx, b.VPSID)
	for _, other := range completed {
		if other.PointAt.Before(b.PointAt) && len(in.Bases) < maxParents {
			in.Bases = append(in.Bases, other.ID)
		}
	}
	return in, err
}

func (q *Queue) queueUpkeep(ctx context.Context, tx *store.Tx, o holdfast.Operation, input any) error {
	a, err := tx.Account(ctx, o.AccountID)
	if err != nil || !a.ShreddedAt.IsZero() {
		return err // without its key nobody can say what is whose
	}
	if _, err := tx.Queries().Upkeep(ctx, o.Kind, o.AccountID, o.BackupID, o.Place); !errors.Is(err, store.ErrNotFound) {
		return err // another process was faster
	}
	_, err = enqueue(ctx, tx, o, input)
	return err
}
