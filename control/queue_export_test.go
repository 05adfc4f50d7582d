package control

import (
	"context"

	"holdfast"
)

// MaintainOnce is one round of Maintain.
func (q *Queue) MaintainOnce(ctx context.Context) error { return q.maintainOnce(ctx) }

// Backfill is the part of Upkeep for places that are new.
func (q *Queue) Backfill(ctx context.Context) (bool, error) { return q.backfill(ctx) }

// KeepUp is one round of Upkeep.
func (q *Queue) KeepUp(ctx context.Context, host holdfast.HostID) error { return q.keepUp(ctx, host) }
