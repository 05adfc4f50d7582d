package store

import (
	"context"

	"github.com/uptrace/bun"

	"holdfast"
)

type copyRow struct {
	bun.BaseModel `bun:"table:backup_copies,alias:backup_copies"`

	BackupID    holdfast.BackupID `bun:",pk"`
	Place       string            `bun:",pk"`
	AccountID   holdfast.AccountID
	State       holdfast.CopyState
	Bytes       int64
	CompletedAt micros
	Error       string
	DueAt       micros
}

func newCopyRow(c holdfast.BackupCopy) *copyRow {
	return &copyRow{
		BackupID: c.BackupID, Place: c.Place, AccountID: c.AccountID, State: c.State, Bytes: c.Bytes,
		CompletedAt: toMicros(c.CompletedAt), Error: c.Error, DueAt: toMicros(c.DueAt),
	}
}

func (r copyRow) domain() holdfast.BackupCopy {
	return holdfast.BackupCopy{
		BackupID: r.BackupID, AccountID: r.AccountID, Place: r.Place, State: r.State, Bytes: r.Bytes,
		CompletedAt: r.CompletedAt.time(), Error: r.Error, DueAt: r.DueAt.time(),
	}
}

// Copy reads the copy of a backup at a place, or ErrNotFound.
func (q *queries) Copy(ctx context.Context, backup holdfast.BackupID, place string) (holdfast.BackupCopy, error) {
	return one[copyRow](ctx, q, "copy", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("backup_id = ? AND place = ?", backup, place)
	})
}

// Copies lists the copies of a backup, by place.
func (q *queries) Copies(ctx context.Context, backup holdfast.BackupID) ([]holdfast.BackupCopy, error) {
	return all[copyRow](ctx, q, "copies", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("backup_id = ?", backup).Order("place")
	})
}

// AllCopies lists the copies of all backups, or of an account's, by backup and place.
func (q *queries) AllCopies(ctx context.Context, account holdfast.AccountID) ([]holdfast.BackupCopy, error) {
	return all[copyRow](ctx, q, "all copies", func(s *bun.SelectQuery) *bun.SelectQuery {
		if account != "" {
			s = s.Where("account_id = ?", account)
		}
		return s.Order("backup_id", "place")
	})
}

// DueCopies lists copies at the given places for which something is to be done
// now, and no operation does it; at most limit, those due first first.
func (q *queries) DueCopies(ctx context.Context, places []string, limit int) ([]holdfast.BackupCopy, error) {
	if len(places) == 0 {
		return nil, nil
	}
	now, err := q.LeaseNow(ctx)
	if err != nil {
		return nil, err
	}
	return all[copyRow](ctx, q, "due copies", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("state <> ? AND due_at <= ?", holdfast.CopyComplete, toMicros(now)).
			Where("place IN (?)", bun.List(places)).
			Where("NOT EXISTS (SELECT 1 FROM operations AS o WHERE o.backup_id = backup_copies.backup_id AND o.place = backup_copies.place"+
				" AND o.account_id = backup_copies.account_id AND o.status IN ('queued', 'in_progress')"+
				" AND o.kind = CASE backup_copies.state WHEN ? THEN ? ELSE ? END)",
				holdfast.CopyDeleting, holdfast.KindCopyDelete, holdfast.KindCopy).
			Order("due_at", "backup_id").Limit(int64(limit))
	})
}

// UncopiedBackups lists completed backups of which nothing is noted for a place;
// at most limit, the oldest point in time first.
func (q *queries) UncopiedBackups(ctx context.Context, place string, limit int) ([]holdfast.Backup, error) {
	return all[backupRow](ctx, q, "uncopied backups", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("status = ?", holdfast.BackupCompleted).
			Where("NOT EXISTS (SELECT 1 FROM backup_copies AS c WHERE c.backup_id = backups.id AND c.place = ?)", place).
			Order("point_at", "id").Limit(int64(limit))
	})
}

// InsertCopy notes that a backup is to be copied; one that is noted stays as it is.
func (t *Tx) InsertCopy(ctx context.Context, c holdfast.BackupCopy) error {
	_, err := t.db.NewInsert().Model(newCopyRow(c)).On("CONFLICT (backup_id, place) DO NOTHING").Exec(ctx)
	t.queued = true // whoever plans the upkeep has news
	return failed("insert copy", err)
}

// SetCopy writes what is known of a copy; ErrNotFound when there is none, or it is
// in another state than from.
func (t *Tx) SetCopy(ctx context.Context, c holdfast.BackupCopy, from holdfast.CopyState) error {
	res, err := t.db.NewUpdate().Model(newCopyRow(c)).Column("state", "bytes", "completed_at", "error", "due_at").
		WherePK().Where("state = ?", from).Exec(ctx)
	t.queued = true // whoever plans the upkeep has news
	return touched("set copy", res, err)
}

// DeleteCopy removes the row of a copy that is gone.
func (t *Tx) DeleteCopy(ctx context.Context, backup holdfast.BackupID, place string) error {
	res, err := t.db.NewDelete().Model((*copyRow)(nil)).
		Where("backup_id = ? AND place = ? AND state = ?", backup, place, holdfast.CopyDeleting).Exec(ctx)
	return touched("delete copy", res, err)
}

// ResetCopies has everything copied to a place anew: the account's vault there was
// lost.
func (t *Tx) ResetCopies(ctx context.Context, account holdfast.AccountID, place string) error {
	now, err := t.LeaseNow(ctx)
	if err != nil {
		return err
	}
	_, err = t.db.NewUpdate().Model((*copyRow)(nil)).
		Set("state = ?", holdfast.CopyPending).Set("completed_at = 0").Set("bytes = 0").Set("due_at = ?", toMicros(now)).
		Where("account_id = ? AND place = ? AND state = ?", account, place, holdfast.CopyComplete).Exec(ctx)
	t.queued = true // whoever plans the upkeep has news
	return failed("reset copies", err)
}

// HasBackups reports whether an account has a completed backup, of any VPS.
func (q *queries) HasBackups(ctx context.Context, account holdfast.AccountID) (bool, error) {
	n, err := q.db.NewSelect().Model((*backupRow)(nil)).
		Where("account_id = ? AND status = ?", account, holdfast.BackupCompleted).Limit(1).Count(ctx)
	return n > 0, failed("has backups", err)
}
