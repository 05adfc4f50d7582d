package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/uptrace/bun"
)

// micros is a time as it is stored: microseconds since 1970 UTC, 0 for none.
type micros int64

func toMicros(t time.Time) micros {
	if t.IsZero() {
		return 0
	}
	return micros(t.UnixMicro())
}

func (m micros) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

// row is a table's row that knows its noun.
type row[D any] interface{ domain() D }

type refine func(*bun.SelectQuery) *bun.SelectQuery

// one reads the only row that refine leaves, or ErrNotFound.
func one[R row[D], D any](ctx context.Context, q *queries, op string, f refine) (D, error) {
	var r R
	if err := f(q.db.NewSelect().Model(&r)).Limit(1).Scan(ctx); err != nil {
		var none D
		return none, failed(op, err)
	}
	return r.domain(), nil
}

// all reads every row that refine leaves.
func all[R row[D], D any](ctx context.Context, q *queries, op string, f refine) ([]D, error) {
	var rows []R
	if err := f(q.db.NewSelect().Model(&rows)).Scan(ctx); err != nil {
		return nil, failed(op, err)
	}
	out := make([]D, len(rows))
	for i, r := range rows {
		out[i] = r.domain()
	}
	return out, nil
}

// Page asks for a part of a list that is ordered from the newest to the oldest.
type Page struct {
	Limit int    // at least 1
	After Cursor // zero: from the beginning
}

// Cursor is the place of a row in a list.
type Cursor struct {
	At time.Time
	ID string
}

// page reads one page, and says whether there is more behind it.
func page[R row[D], D any](ctx context.Context, q *queries, op string, p Page, f refine) ([]D, bool, error) {
	out, err := all[R](ctx, q, op, func(s *bun.SelectQuery) *bun.SelectQuery {
		if p.After != (Cursor{}) {
			s = s.Where("(created_at, id) < (?, ?)", toMicros(p.After.At), p.After.ID)
		}
		return f(s).Order("created_at DESC", "id DESC").Limit(int64(p.Limit) + 1)
	})
	if err != nil || len(out) <= p.Limit {
		return out, false, err
	}
	return out[:p.Limit], true, nil
}

// insert writes a new row; ErrConflict when a unique rule forbids it.
func (t *Tx) insert(ctx context.Context, op string, model any) error {
	_, err := t.db.NewInsert().Model(model).Exec(ctx)
	return failed(op, err)
}

// touched turns a change of no row at all into ErrNotFound.
func touched(op string, res sql.Result, err error) error {
	if err != nil {
		return failed(op, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return failed(op, err)
	}
	if n == 0 {
		return failed(op, ErrNotFound)
	}
	return nil
}
