package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"holdfast"
)

type garbageRow struct {
	bun.BaseModel `bun:"table:vault_garbage,alias:vault_garbage"`

	AccountID holdfast.AccountID `bun:",pk"`
	Place     string             `bun:",pk"`
	Deletions int64
	DueAt     micros
}

func (r garbageRow) domain() holdfast.Garbage {
	return holdfast.Garbage{AccountID: r.AccountID, Place: r.Place, Deletions: r.Deletions, DueAt: r.DueAt.time()}
}

// DueGarbage lists what is to be collected now at the given places, and no
// operation collects; at most limit, what is due first first.
func (q *queries) DueGarbage(ctx context.Context, places []string, limit int) ([]holdfast.Garbage, error) {
	if len(places) == 0 {
		return nil, nil
	}
	now, err := q.LeaseNow(ctx)
	if err != nil {
		return nil, err
	}
	return all[garbageRow](ctx, q, "due garbage", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("due_at <= ?", toMicros(now)).Where("place IN (?)", bun.List(places)).
			Where("NOT EXISTS (SELECT 1 FROM operations AS o WHERE o.kind = ? AND o.account_id = vault_garbage.account_id"+
				" AND o.place = vault_garbage.place AND o.status IN ('queued', 'in_progress'))", holdfast.KindVaultCollect).
			Order("due_at", "account_id").Limit(int64(limit))
	})
}

// NoteGarbage notes a deletion at a place, to be collected at a time; what was
// noted before keeps its time.
func (t *Tx) NoteGarbage(ctx context.Context, account holdfast.AccountID, place string, due time.Time) error {
	_, err := t.db.NewInsert().Model(&garbageRow{AccountID: account, Place: place, Deletions: 1, DueAt: toMicros(due)}).
		On("CONFLICT (account_id, place) DO UPDATE").Set("deletions = vault_garbage.deletions + 1").Exec(ctx)
	return failed("note garbage", err)
}

// DelayGarbage puts a collection off.
func (t *Tx) DelayGarbage(ctx context.Context, account holdfast.AccountID, place string, due time.Time) error {
	res, err := t.db.NewUpdate().Model((*garbageRow)(nil)).Set("due_at = ?", toMicros(due)).
		Where("account_id = ? AND place = ?", account, place).Exec(ctx)
	return touched("delay garbage", res, err)
}

// ClearGarbage notes that a place was collected; ErrNotFound when something was
// deleted there since the deletions were counted, so that it has to be again.
func (t *Tx) ClearGarbage(ctx context.Context, account holdfast.AccountID, place string, deletions int64) error {
	res, err := t.db.NewDelete().Model((*garbageRow)(nil)).
		Where("account_id = ? AND place = ? AND deletions = ?", account, place, deletions).Exec(ctx)
	return touched("clear garbage", res, err)
}
