package store

import (
	"context"

	"github.com/uptrace/bun"

	"holdfast"
)

type snapshotRow struct {
	bun.BaseModel `bun:"table:snapshots,alias:snapshots"`

	ID          holdfast.SnapshotID `bun:",pk"`
	AccountID   holdfast.AccountID
	VPSID       holdfast.VPSID `bun:"vps_id"`
	Generation  int
	Position    int64
	Name        string
	Description string
	Status      holdfast.SnapshotStatus
	Scheduled   bool
	RequestedAt micros
	TakenAt     micros
	ExpiresAt   micros
	Frozen      bool
	Error       string
	DueAt       micros
}

func newSnapshotRow(s holdfast.Snapshot) *snapshotRow {
	return &snapshotRow{
		ID: s.ID, AccountID: s.AccountID, VPSID: s.VPSID, Generation: s.Generation, Position: s.Position,
		Name: s.Name, Description: s.Description, Status: s.Status, Scheduled: s.Scheduled,
		RequestedAt: toMicros(s.RequestedAt), TakenAt: toMicros(s.TakenAt), ExpiresAt: toMicros(s.ExpiresAt),
		Frozen: s.Frozen, Error: s.Error, DueAt: toMicros(s.DueAt),
	}
}

func (r snapshotRow) domain() holdfast.Snapshot {
	return holdfast.Snapshot{
		ID: r.ID, AccountID: r.AccountID, VPSID: r.VPSID, Generation: r.Generation, Position: r.Position,
		Name: r.Name, Description: r.Description, Status: r.Status, Scheduled: r.Scheduled,
		RequestedAt: r.RequestedAt.time(), TakenAt: r.TakenAt.time(), ExpiresAt: r.ExpiresAt.time(),
		Frozen: r.Frozen, Error: r.Error, DueAt: r.DueAt.time(),
	}
}

// SnapshotByID reads a snapshot of any account, or ErrNotFound.
func (q *queries) SnapshotByID(ctx context.Context, id holdfast.SnapshotID) (holdfast.Snapshot, error) {
	return one[snapshotRow](ctx, q, "snapshot", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("id = ?", id) })
}

// Snapshots lists the line of a VPS's snapshots of one generation of its disks,
// the oldest first, but those that are being deleted.
func (q *queries) Snapshots(ctx context.Context, vps holdfast.VPSID, generation int) ([]holdfast.Snapshot, error) {
	return all[snapshotRow](ctx, q, "snapshots", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("vps_id = ? AND generation = ? AND status <> ?", vps, generation, holdfast.SnapshotDeleting).Order("position")
	})
}

// CountSnapshots counts the snapshots that a VPS's disks of one generation have,
// those that are being deleted among them.
func (q *queries) CountSnapshots(ctx context.Context, vps holdfast.VPSID, generation int) (int, error) {
	n, err := q.db.NewSelect().Model((*snapshotRow)(nil)).Where("vps_id = ? AND generation = ?", vps, generation).Count(ctx)
	return int(n), failed("count snapshots", err)
}

// AllSnapshots lists the snapshots of all accounts, or of one, or of one VPS,
// whatever their state and generation, by VPS and in line.
func (q *queries) AllSnapshots(ctx context.Context, account holdfast.AccountID, vps holdfast.VPSID) ([]holdfast.Snapshot, error) {
	return all[snapshotRow](ctx, q, "all snapshots", func(s *bun.SelectQuery) *bun.SelectQuery {
		if account != "" {
			s = s.Where("account_id = ?", account)
		}
		if vps != "" {
			s = s.Where("vps_id = ?", vps)
		}
		return s.Order("vps_id", "generation", "position")
	})
}

// DueSnapshots lists the snapshots that are to be deleted now: those that have
// expired and those whose deletion was begun. Left out are those of disks that are
// not in force and of VPSs on which another operation works; at most limit, those
// due first first.
func (q *queries) DueSnapshots(ctx context.Context, limit int) ([]holdfast.Snapshot, error) {
	lease, now, err := q.nowBoth(ctx)
	if err != nil {
		return nil, err
	}
	return all[snapshotRow](ctx, q, "due snapshots", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("due_at <= ?", lease).
			Where("(status = ? OR (status = ? AND expires_at <= ?))",
				holdfast.SnapshotDeleting, holdfast.SnapshotCompleted, now).
			Where("EXISTS (SELECT 1 FROM vps AS v WHERE v.id = snapshots.vps_id AND v.generation = snapshots.generation AND v.service <> ?)",
				holdfast.ServiceTerminated).
			Where(noLockOn("snapshots"), holdfast.LockData).
			Order("due_at", "expires_at", "id").Limit(int64(limit))
	})
}

// noLockOn is the condition that no operation holds a lock of the VPS of a
// table's row.
func noLockOn(table string) string {
	return "NOT EXISTS (SELECT 1 FROM operations AS o WHERE o.vps_id = " + table + ".vps_id AND o.lock_name = ?" +
		" AND o.status IN ('queued', 'in_progress'))"
}

// InsertSnapshot writes a new snapshot at the end of its line. ErrConflict: the
// line has one of that name.
func (t *Tx) InsertSnapshot(ctx context.Context, s holdfast.Snapshot) error {
	var last int64
	err := t.db.NewSelect().Model((*snapshotRow)(nil)).ColumnExpr("COALESCE(MAX(position), 0)").
		Where("vps_id = ? AND generation = ?", s.VPSID, s.Generation).Scan(ctx, &last)
	if err != nil {
		return failed("insert snapshot", err)
	}
	s.Position = last + 1
	return t.insert(ctx, "insert snapshot", newSnapshotRow(s))
}

// SetSnapshot writes what is known of a snapshot; ErrNotFound when there is none.
func (t *Tx) SetSnapshot(ctx context.Context, s holdfast.Snapshot) error {
	res, err := t.db.NewUpdate().Model(newSnapshotRow(s)).
		Column("status", "taken_at", "expires_at", "frozen", "error", "due_at").WherePK().Exec(ctx)
	return touched("set snapshot", res, err)
}

// DeleteSnapshot removes the row of a snapshot; ErrNotFound when there is none.
func (t *Tx) DeleteSnapshot(ctx context.Context, id holdfast.SnapshotID) error {
	res, err := t.db.NewDelete().Model((*snapshotRow)(nil)).Where("id = ?", id).Exec(ctx)
	return touched("delete snapshot", res, err)
}

// DeleteLaterSnapshots removes the rows of all that comes after a snapshot in its
// line.
func (t *Tx) DeleteLaterSnapshots(ctx context.Context, s holdfast.Snapshot) error {
	_, err := t.db.NewDelete().Model((*snapshotRow)(nil)).
		Where("vps_id = ? AND generation = ? AND position > ?", s.VPSID, s.Generation, s.Position).Exec(ctx)
	return failed("delete later snapshots", err)
}

// DeleteSnapshotsOf removes the rows of all snapshots of a VPS that were taken of
// one generation of its disks, which is gone.
func (t *Tx) DeleteSnapshotsOf(ctx context.Context, vps holdfast.VPSID, generation int) error {
	_, err := t.db.NewDelete().Model((*snapshotRow)(nil)).Where("vps_id = ? AND generation = ?", vps, generation).Exec(ctx)
	return failed("delete snapshots of generation", err)
}

// DeleteAllSnapshots removes the rows of all snapshots of a VPS that is gone, and
// its schedule.
func (t *Tx) DeleteAllSnapshots(ctx context.Context, vps holdfast.VPSID) error {
	for _, model := range []any{(*snapshotRow)(nil), (*scheduleRow)(nil)} {
		if _, err := t.db.NewDelete().Model(model).Where("vps_id = ?", vps).Exec(ctx); err != nil {
			return failed("delete all snapshots", err)
		}
	}
	return nil
}
