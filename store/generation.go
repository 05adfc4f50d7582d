package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"holdfast"
)

type generationRow struct {
	bun.BaseModel `bun:"table:generations,alias:generations"`

	VPSID      holdfast.VPSID `bun:"vps_id,pk"`
	Number     int            `bun:",pk"`
	AccountID  holdfast.AccountID
	HostID     holdfast.HostID
	State      holdfast.GenerationState
	Disks      []holdfast.VPSDisk        `bun:"disks,type:text"`
	OS         *holdfast.OperatingSystem `bun:"os,type:text"`
	BaseBackup holdfast.BackupID
	ExpiresAt  micros
	DueAt      micros
	Error      string
}

func (r generationRow) domain() holdfast.Generation {
	return holdfast.Generation{
		VPSID: r.VPSID, Number: r.Number, AccountID: r.AccountID, HostID: r.HostID, State: r.State, Disks: r.Disks,
		OS: r.OS, Base: r.BaseBackup, ExpiresAt: r.ExpiresAt.time(), DueAt: r.DueAt.time(), Error: r.Error,
	}
}

// Safety reads the safety point of a VPS, one that is coming back too, or
// ErrNotFound.
func (q *queries) Safety(ctx context.Context, vps holdfast.VPSID) (holdfast.Generation, error) {
	return one[generationRow](ctx, q, "safety point", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("vps_id = ? AND state IN (?, ?)", vps, holdfast.GenerationSafety, holdfast.GenerationReturning)
	})
}

// Generation reads a set of disks that is not in force, or ErrNotFound.
func (q *queries) Generation(ctx context.Context, vps holdfast.VPSID, number int) (holdfast.Generation, error) {
	return one[generationRow](ctx, q, "generation", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("vps_id = ? AND number = ?", vps, number)
	})
}

// DueGenerations lists the disks that are to be removed now, and that no operation
// removes; at most limit. Of a VPS it is one at a time.
func (q *queries) DueGenerations(ctx context.Context, limit int) ([]holdfast.Generation, error) {
	lease, err := q.LeaseNow(ctx)
	if err != nil {
		return nil, err
	}
	wall, err := q.Now(ctx)
	if err != nil {
		return nil, err
	}
	return all[generationRow](ctx, q, "due generations", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("((state = ? AND due_at <= ?) OR (state = ? AND expires_at <= ?))",
			holdfast.GenerationDropping, toMicros(lease), holdfast.GenerationSafety, toMicros(wall)).
			Where("NOT EXISTS (SELECT 1 FROM operations AS o WHERE o.vps_id = generations.vps_id AND o.kind = ?"+
				" AND o.status IN ('queued', 'in_progress'))", holdfast.KindGenerationDrop).
			Order("due_at", "vps_id", "number").Limit(int64(limit))
	})
}

// InsertGeneration writes a new set of disks.
func (t *Tx) InsertGeneration(ctx context.Context, g holdfast.Generation) error {
	t.queued = true // whoever plans the upkeep may have news
	return t.insert(ctx, "insert generation", &generationRow{
		VPSID: g.VPSID, Number: g.Number, AccountID: g.AccountID, HostID: g.HostID, State: g.State, Disks: notNil(g.Disks),
		OS: g.OS, BaseBackup: g.Base, ExpiresAt: toMicros(g.ExpiresAt), DueAt: toMicros(g.DueAt), Error: g.Error,
	})
}

// SetGeneration moves a set of disks from one state to another; ErrNotFound when
// it is not in the first.
func (t *Tx) SetGeneration(ctx context.Context, vps holdfast.VPSID, number int, from, to holdfast.GenerationState) error {
	res, err := t.db.NewUpdate().Model((*generationRow)(nil)).Set("state = ?", to).
		Where("vps_id = ? AND number = ? AND state = ?", vps, number, from).Exec(ctx)
	t.queued = true // whoever plans the upkeep may have news
	return touched("set generation", res, err)
}

// DelayGeneration puts the removal of a set of disks off, and says why.
func (t *Tx) DelayGeneration(ctx context.Context, vps holdfast.VPSID, number int, due time.Time, why string) error {
	res, err := t.db.NewUpdate().Model((*generationRow)(nil)).Set("due_at = ?", toMicros(due)).Set("error = ?", why).
		Where("vps_id = ? AND number = ?", vps, number).Exec(ctx)
	return touched("delay generation", res, err)
}

// DeleteGeneration removes the row of disks that are gone, or in force.
func (t *Tx) DeleteGeneration(ctx context.Context, vps holdfast.VPSID, number int) error {
	res, err := t.db.NewDelete().Model((*generationRow)(nil)).Where("vps_id = ? AND number = ?", vps, number).Exec(ctx)
	return touched("delete generation", res, err)
}

// DeleteGenerations removes the rows of all disks of a VPS that is gone.
func (t *Tx) DeleteGenerations(ctx context.Context, vps holdfast.VPSID) error {
	_, err := t.db.NewDelete().Model((*generationRow)(nil)).Where("vps_id = ?", vps).Exec(ctx)
	return failed("delete generations", err)
}
