package store

import (
	"context"
	"time"
)

// ForgetIdempotent frees a key whose answer is older than age, so that it may
// be taken again before ExpireIdempotent comes by.
func (t *Tx) ForgetIdempotent(ctx context.Context, k IdempotencyKey, age time.Duration) error {
	_, err := t.db.NewDelete().Model((*idempotencyRow)(nil)).Where(idempotencyKey, k.args()...).
		Where("created_at < ?", toMicros(t.clock.wall().Add(-age))).Exec(ctx)
	return failed("forget idempotency", err)
}
