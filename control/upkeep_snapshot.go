package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast"
	"holdfast/store"
)

// waitAgain is how long what cannot be done now is not looked at, so that it keeps
// nothing else waiting.
const waitAgain = time.Minute

// keepSnapshots queues the deletion of what has expired, and what the schedules
// ask for. A VPS on which another operation works waits: its rows stay due.
func (q *Queue) keepSnapshots(ctx context.Context) error {
	due, err := q.store.DueSnapshots(ctx, upkeepBatch)
	for _, s := range due {
		err = errors.Join(err, q.planned(ctx, q.store.TxUrgent, func(tx *store.Tx) error { return q.expire(ctx, tx, s.ID) }))
	}
	schedules, serr := q.store.DueSchedules(ctx, upkeepBatch)
	err = errors.Join(err, serr)
	for _, s := range schedules {
		err = errors.Join(err, q.planned(ctx, q.store.Tx, func(tx *store.Tx) error { return q.follow(ctx, tx, s.VPSID) }))
	}
	return err
}

// planned runs a transaction that may find another operation in its way: then
// nothing is written, and what is due stays so.
func (*Queue) planned(ctx context.Context, write func(context.Context, func(*store.Tx) error) error, do func(*store.Tx) error) error {
	if err := write(ctx, do); holdfast.CodeOf(err) != holdfast.CodeOperationInProgress {
		return err
	}
	return nil
}

// facts of a VPS's snapshots, for the service itself.
func (q *Queue) facts(ctx context.Context, tx *store.Tx, vps holdfast.VPSID) (snapshotFacts, error) {
	v, err := tx.VPS(ctx, vps)
	if err != nil {
		return snapshotFacts{}, err
	}
	return factsOfSnapshots(ctx, tx.Queries(), Caller{Account: v.AccountID}, v, q.care.Snapshots.withDefaults().Limit)
}

// expire queues the deletion of a snapshot that was due a moment ago.
func (q *Queue) expire(ctx context.Context, tx *store.Tx, id holdfast.SnapshotID) error {
	s, err := tx.SnapshotByID(ctx, id)
	if err != nil {
		return gone(err)
	}
	f, err := q.facts(ctx, tx, s.VPSID)
	if err != nil {
		return gone(err)
	}
	now, err := tx.LeaseNow(ctx)
	if err != nil {
		return err
	}
	if s.Generation != f.vps.Generation || s.DueAt.After(now) || s.Status == holdfast.SnapshotPending {
		return nil // another process was faster
	}
	if err := holdfast.BusyGate(f.busy).Err(); err != nil {
		return err
	}
	if !f.hostUp {
		s.DueAt = now.Add(waitAgain)
		return tx.SetSnapshot(ctx, s)
	}
	_, err = enqueueSnapshot(ctx, tx, holdfast.KindSnapshotDelete, &f, s)
	return err
}

// follow does what a schedule asks for. At the limit the oldest snapshot that a
// schedule has made goes first, never one that somebody made by hand, and the
// schedule stays due meanwhile.
func (q *Queue) follow(ctx context.Context, tx *store.Tx, vps holdfast.VPSID) error {
	sch, err := tx.SnapshotSchedule(ctx, vps)
	if err != nil {
		return gone(err)
	}
	f, err := q.facts(ctx, tx, vps)
	if err != nil {
		return gone(err)
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	if !sch.Due(now) {
		return nil // another process was faster
	}
	if err := holdfast.BusyGate(f.busy).Err(); err != nil {
		return err
	}
	if f.take().Code == holdfast.CodeSnapshotLimitReached {
		if oldest := f.oldestScheduled(); oldest != nil {
			_, err := enqueueSnapshot(ctx, tx, holdfast.KindSnapshotDelete, &f, *oldest)
			return err
		}
	}
	if !f.take().Allowed {
		lease, err := tx.LeaseNow(ctx)
		if err != nil {
			return err
		}
		sch.DueAt = lease.Add(waitAgain)
		return tx.PutSnapshotSchedule(ctx, sch)
	}
	if _, err := queueSnapshot(ctx, tx, &f, holdfast.Snapshot{Name: f.scheduledName(now), Scheduled: true}); err != nil {
		return err
	}
	sch.LastAt, sch.NextAt = now, sch.After(now)
	return tx.PutSnapshotSchedule(ctx, sch)
}

// oldestScheduled is the oldest snapshot that a schedule made; nil: there is none.
func (f *snapshotFacts) oldestScheduled() *holdfast.Snapshot {
	for i := range f.line {
		if f.line[i].Scheduled && f.line[i].Status == holdfast.SnapshotCompleted {
			return &f.line[i]
		}
	}
	return nil
}

// scheduledName is a name that no snapshot of the VPS has.
func (f *snapshotFacts) scheduledName(now time.Time) string {
	base := "auto-" + now.UTC().Format("20060102-150405")
	name := base
	for n := 2; f.named(name) != nil; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// named is the snapshot of a name; nil: there is none.
func (f *snapshotFacts) named(name string) *holdfast.Snapshot {
	for i := range f.line {
		if f.line[i].Name == name {
			return &f.line[i]
		}
	}
	return nil
}
