package limit

import (
	"context"
	"time"

	"holdfast/vault/blob"
)

// retaining slows a blob.Retainer down.
type retaining struct {
	*storage

	inner blob.Retainer
}

// Retaining implements blob.RetainWrapper.
func (s *storage) Retaining(inner blob.Retainer) blob.Retainer { return retaining{s, inner} }

// Retention is the inner one's.
func (r retaining) Retention() time.Duration { return r.inner.Retention() }

// PutRetained waits for its bytes, then stores them.
func (r retaining) PutRetained(ctx context.Context, name string, data []byte, until time.Time) error {
	if err := r.turn(ctx, len(data)); err != nil {
		return err
	}
	return r.inner.PutRetained(ctx, name, data, until)
}

// Retain waits for its turn.
func (r retaining) Retain(ctx context.Context, name string, until time.Time) error {
	if err := r.turn(ctx, 0); err != nil {
		return err
	}
	return r.inner.Retain(ctx, name, until)
}

// RetainedUntil waits for its turn.
func (r retaining) RetainedUntil(ctx context.Context, name string) (time.Time, error) {
	if err := r.turn(ctx, 0); err != nil {
		return time.Time{}, err
	}
	return r.inner.RetainedUntil(ctx, name)
}
