package store

import (
	"context"

	"github.com/uptrace/bun"
)

// The facts about the installation that are kept.
const (
	MetaInstance = "instance"         // the id of this installation
	MetaKeyCheck = "master_key_check" // proves the master key
	MetaKeyNext  = "master_key_next"  // proves the one that a rotation brings; empty: none
	MetaKeyServe = "master_key_serve" // proves the one that the service was started with
)

type metaRow struct {
	bun.BaseModel `bun:"table:meta,alias:meta"`

	Name  string `bun:",pk"`
	Value []byte
}

func (r metaRow) domain() []byte { return r.Value }

// Meta reads a fact about the installation, or ErrNotFound.
func (q *queries) Meta(ctx context.Context, name string) ([]byte, error) {
	return one[metaRow](ctx, q, "meta", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("name = ?", name) })
}

// PutMeta writes a fact about the installation, new or known.
func (t *Tx) PutMeta(ctx context.Context, name string, value []byte) error {
	_, err := t.db.NewInsert().Model(&metaRow{Name: name, Value: value}).
		On("CONFLICT (name) DO UPDATE").Set("value = EXCLUDED.value").Exec(ctx)
	return failed("put meta", err)
}
