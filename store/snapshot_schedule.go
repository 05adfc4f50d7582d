package store

import (
	"context"

	"github.com/uptrace/bun"

	"holdfast"
)

type scheduleRow struct {
	bun.BaseModel `bun:"table:snapshot_schedules,alias:snapshot_schedules"`

	VPSID         holdfast.VPSID `bun:"vps_id,pk"`
	AccountID     holdfast.AccountID
	Enabled       bool
	IntervalHours int
	LastAt        micros
	NextAt        micros
	DueAt         micros
}

func newScheduleRow(s holdfast.SnapshotSchedule) *scheduleRow {
	return &scheduleRow{
		VPSID: s.VPSID, AccountID: s.AccountID, Enabled: s.Enabled, IntervalHours: s.IntervalHours,
		LastAt: toMicros(s.LastAt), NextAt: toMicros(s.NextAt), DueAt: toMicros(s.DueAt),
	}
}

func (r scheduleRow) domain() holdfast.SnapshotSchedule {
	return holdfast.SnapshotSchedule{
		VPSID: r.VPSID, AccountID: r.AccountID, Enabled: r.Enabled, IntervalHours: r.IntervalHours,
		LastAt: r.LastAt.time(), NextAt: r.NextAt.time(), DueAt: r.DueAt.time(),
	}
}

// SnapshotSchedule reads the schedule of a VPS's snapshots, or ErrNotFound.
func (q *queries) SnapshotSchedule(ctx context.Context, vps holdfast.VPSID) (holdfast.SnapshotSchedule, error) {
	return one[scheduleRow](ctx, q, "snapshot schedule", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("vps_id = ?", vps) })
}

// DueSchedules lists the schedules that have a snapshot to take now, of VPSs that
// are in service and on which no operation works; at most limit, those due first
// first. One that lies further ahead than it can, because the wall clock was set
// back, is due too.
func (q *queries) DueSchedules(ctx context.Context, limit int) ([]holdfast.SnapshotSchedule, error) {
	lease, now, err := q.nowBoth(ctx)
	if err != nil {
		return nil, err
	}
	return all[scheduleRow](ctx, q, "due schedules", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("enabled AND due_at <= ?", lease).
			Where("(next_at <= ? OR next_at > ? + ?)", now, now, holdfast.SnapshotAhead.Microseconds()).
			Where("EXISTS (SELECT 1 FROM vps AS v WHERE v.id = snapshot_schedules.vps_id AND v.service = ?)", holdfast.ServiceActive).
			Where(noLockOn("snapshot_schedules"), holdfast.LockData).
			Order("due_at", "next_at", "vps_id").Limit(int64(limit))
	})
}

// PutSnapshotSchedule writes the schedule of a VPS's snapshots.
func (t *Tx) PutSnapshotSchedule(ctx context.Context, s holdfast.SnapshotSchedule) error {
	q := t.db.NewInsert().Model(newScheduleRow(s)).On("CONFLICT (vps_id) DO UPDATE")
	for _, c := range []string{"enabled", "interval_hours", "last_at", "next_at", "due_at"} {
		q = q.Set("? = EXCLUDED.?", bun.Ident(c), bun.Ident(c))
	}
	_, err := q.Exec(ctx)
	t.queued = true // whoever plans the upkeep has news
	return failed("put snapshot schedule", err)
}

// DeleteSnapshotSchedule removes a schedule; ErrNotFound when there is none.
func (t *Tx) DeleteSnapshotSchedule(ctx context.Context, vps holdfast.VPSID) error {
	res, err := t.db.NewDelete().Model((*scheduleRow)(nil)).Where("vps_id = ?", vps).Exec(ctx)
	return touched("delete snapshot schedule", res, err)
}
