package control

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"holdfast"
	"holdfast/store"
)

// SnapshotSchedule is all that there is to say about the schedule of a VPS's
// snapshots.
type SnapshotSchedule struct {
	Schedule  *holdfast.SnapshotSchedule // nil: there is none
	Limit     int
	Available holdfast.Gate
	Enable    holdfast.Gate
}

// GetSnapshotSchedule reads the schedule of a VPS of the caller's.
func (c *Control) GetSnapshotSchedule(ctx context.Context, caller Caller, vps string) (SnapshotSchedule, error) {
	const op = "control.GetSnapshotSchedule"
	q := c.store.Queries()
	f, err := c.readSnapshots(ctx, q, caller, vps)
	if err != nil {
		return SnapshotSchedule{}, told(op, err)
	}
	out, err := scheduleOf(ctx, q, &f)
	return out, told(op, err)
}

func scheduleOf(ctx context.Context, q *store.Queries, f *snapshotFacts) (SnapshotSchedule, error) {
	out := SnapshotSchedule{Limit: f.limit, Available: f.available(), Enable: f.schedule()}
	s, err := q.SnapshotSchedule(ctx, f.vps.ID)
	if errors.Is(err, store.ErrNotFound) {
		return out, nil
	}
	out.Schedule = &s
	return out, err
}

// ScheduleRequest changes a schedule. What is nil stays as it is; of a new one it
// is enabled, and takes a snapshot a day.
type ScheduleRequest struct {
	Enabled       *bool
	IntervalHours *float64 // rounded down and clamped
}

// maxSpread is within how long the schedules that are enabled at the same time
// begin.
const maxSpread = 10 * time.Minute

// SetSnapshotSchedule changes the schedule of a VPS of the caller's. answer makes
// what is kept for a request that is repeated; it must have no effect.
func (c *Control) SetSnapshotSchedule(ctx context.Context, caller Caller, vps string, req ScheduleRequest, o *Once, answer func(SnapshotSchedule) (Answer, error)) (SnapshotSchedule, *Answer, error) {
	var out SnapshotSchedule
	var replay *Answer
	err := c.write(ctx, "control.SetSnapshotSchedule", func(tx *store.Tx) (err error) {
		replay, err = o.run(ctx, tx, caller, func() (func() (Answer, error), error) {
			f, err := c.readSnapshots(ctx, tx.Queries(), caller, vps)
			if err != nil {
				return nil, err
			}
			if err := setSchedule(ctx, tx, &f, req); err != nil {
				return nil, err
			}
			out, err = scheduleOf(ctx, tx.Queries(), &f)
			return func() (Answer, error) { return answer(out) }, err
		})
		return err
	})
	return out, replay, err
}

func setSchedule(ctx context.Context, tx *store.Tx, f *snapshotFacts, req ScheduleRequest) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	due, err := tx.LeaseNow(ctx)
	if err != nil {
		return err
	}
	s, err := tx.SnapshotSchedule(ctx, f.vps.ID)
	known := err == nil
	if !known {
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		s = holdfast.SnapshotSchedule{VPSID: f.vps.ID, AccountID: f.vps.AccountID, IntervalHours: holdfast.MaxSnapshotInterval}
	}
	before := s
	s.Enabled = true
	set(&s.Enabled, req.Enabled)
	if req.IntervalHours != nil {
		s.IntervalHours = holdfast.SnapshotInterval(*req.IntervalHours)
	}
	gate := holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeWriteVM)
	if s.Enabled {
		gate = f.schedule()
	}
	if err := gate.Err(); err != nil {
		return err
	}
	if known && s == before {
		return nil // it keeps its rhythm
	}
	// The first snapshot is taken soon, but switching off and on takes none early.
	s.NextAt, s.DueAt = now, due
	if next := s.LastAt.Add(time.Duration(s.IntervalHours) * time.Hour); !s.LastAt.IsZero() && next.After(now) {
		s.NextAt = next
	}
	s.NextAt = s.NextAt.Add(rand.N(maxSpread)) //nolint:gosec // spreads work, guards nothing
	return tx.PutSnapshotSchedule(ctx, s)
}

// DeleteSnapshotSchedule ends the schedule of a VPS of the caller's. The snapshots
// that it made stay until they expire.
func (c *Control) DeleteSnapshotSchedule(ctx context.Context, caller Caller, vps string) error {
	return c.urgent(ctx, "control.DeleteSnapshotSchedule", func(tx *store.Tx) error {
		v, err := ownVPS(ctx, tx.Queries(), caller, vps)
		if err != nil {
			return err
		}
		if err := holdfast.ScopeGate(caller.Scopes, holdfast.ScopeWriteVM).Err(); err != nil {
			return err
		}
		return missing(tx.DeleteSnapshotSchedule(ctx, v.ID), holdfast.CodeScheduleNotFound, "This VPS has no schedule of snapshots.")
	})
}
