package store

import (
	"context"

	"github.com/uptrace/bun"

	"holdfast"
)

type regionRow struct {
	bun.BaseModel `bun:"table:regions,alias:regions"`

	ID        string `bun:",pk"`
	Name      string
	IsDefault bool
	CreatedAt micros
}

func (r regionRow) domain() holdfast.Region {
	return holdfast.Region{ID: r.ID, Name: r.Name, Default: r.IsDefault, CreatedAt: r.CreatedAt.time()}
}

// Region reads a region, or ErrNotFound.
func (q *queries) Region(ctx context.Context, id string) (holdfast.Region, error) {
	return one[regionRow](ctx, q, "region", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("id = ?", id) })
}

// DefaultRegion reads the default region, or ErrNotFound.
func (q *queries) DefaultRegion(ctx context.Context) (holdfast.Region, error) {
	return one[regionRow](ctx, q, "default region", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("is_default") })
}

// Regions lists all regions by id.
func (q *queries) Regions(ctx context.Context) ([]holdfast.Region, error) {
	return all[regionRow](ctx, q, "regions", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Order("id") })
}

// PutRegion writes a region, new or known. A default one replaces the default.
func (t *Tx) PutRegion(ctx context.Context, r holdfast.Region) error {
	if r.Default {
		if _, err := t.db.NewUpdate().Model((*regionRow)(nil)).Set("is_default = ?", false).
			Where("is_default AND id <> ?", r.ID).Exec(ctx); err != nil {
			return failed("put region", err)
		}
	}
	_, err := t.db.NewInsert().Model(&regionRow{ID: r.ID, Name: r.Name, IsDefault: r.Default, CreatedAt: toMicros(r.CreatedAt)}).
		On("CONFLICT (id) DO UPDATE").Set("name = EXCLUDED.name").Set("is_default = EXCLUDED.is_default").Exec(ctx)
	return failed("put region", err)
}
