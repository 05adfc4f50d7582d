package store

import (
	"context"

	"github.com/uptrace/bun"

	"holdfast"
)

type osImageRow struct {
	bun.BaseModel `bun:"table:os_images,alias:os_images"`

	ID        holdfast.OSImageID `bun:",pk"`
	Name      string
	OS        holdfast.OperatingSystem `bun:"os,type:text"`
	Disk      string
	Format    string
	SizeBytes int64
	Boot      holdfast.Boot `bun:"boot,type:text"`
	CreatedAt micros
}

func (r osImageRow) domain() holdfast.OSImage {
	return holdfast.OSImage{
		ID: r.ID, Name: r.Name, OS: r.OS, Disk: r.Disk, Format: r.Format,
		SizeBytes: r.SizeBytes, Boot: r.Boot, CreatedAt: r.CreatedAt.time(),
	}
}

// OSImageByName reads the image of a name, or ErrNotFound.
func (q *queries) OSImageByName(ctx context.Context, name string) (holdfast.OSImage, error) {
	return one[osImageRow](ctx, q, "os image", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("name = ?", name) })
}

// OSImages lists all images by name.
func (q *queries) OSImages(ctx context.Context) ([]holdfast.OSImage, error) {
	return all[osImageRow](ctx, q, "os images", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Order("name") })
}

// PutOSImage writes an image, new or, by its name, known; a known one keeps its
// id and creation.
func (t *Tx) PutOSImage(ctx context.Context, i holdfast.OSImage) error {
	q := t.db.NewInsert().Model(&osImageRow{
		ID: i.ID, Name: i.Name, OS: i.OS, Disk: i.Disk, Format: i.Format,
		SizeBytes: i.SizeBytes, Boot: i.Boot, CreatedAt: toMicros(i.CreatedAt),
	}).On("CONFLICT (name) DO UPDATE")
	for _, c := range []string{"os", "disk", "format", "size_bytes", "boot"} {
		q = q.Set("? = EXCLUDED.?", bun.Ident(c), bun.Ident(c))
	}
	_, err := q.Exec(ctx)
	return failed("put os image", err)
}

// DeleteOSImage removes the image of a name; ErrNotFound when there is none.
func (t *Tx) DeleteOSImage(ctx context.Context, name string) error {
	res, err := t.db.NewDelete().Model((*osImageRow)(nil)).Where("name = ?", name).Exec(ctx)
	return touched("delete os image", res, err)
}
