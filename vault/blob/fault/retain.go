package fault

import (
	"context"
	"time"

	"holdfast/vault/blob"
)

// retaining is the Storage before a blob.Retainer. PutRetained counts as Put, the
// rest as Retain.
type retaining struct {
	*Storage

	inner blob.Retainer
}

// Unwrap implements blob.Wrapper.
func (s *Storage) Unwrap() blob.Storage { return s.inner }

// Retaining implements blob.RetainWrapper.
func (s *Storage) Retaining(inner blob.Retainer) blob.Retainer { return retaining{s, inner} }

// Retention is the inner one's.
func (r retaining) Retention() time.Duration { return r.inner.Retention() }

// PutRetained implements blob.Retainer.
func (r retaining) PutRetained(ctx context.Context, name string, data []byte, until time.Time) error {
	f, err := r.enter(ctx, Put, name)
	if err != nil {
		return err
	}
	if err := r.transfer(ctx, len(data)); err != nil {
		return err
	}
	if err := r.inner.PutRetained(ctx, name, f.changed(data), until); err != nil {
		return err
	}
	return f.after
}

// Retain implements blob.Retainer.
func (r retaining) Retain(ctx context.Context, name string, until time.Time) error {
	f, err := r.enter(ctx, Retain, name)
	if err != nil {
		return err
	}
	if err := r.inner.Retain(ctx, name, until); err != nil {
		return err
	}
	return f.after
}

// RetainedUntil implements blob.Retainer.
func (r retaining) RetainedUntil(ctx context.Context, name string) (time.Time, error) {
	f, err := r.enter(ctx, Retain, name)
	if err != nil {
		return time.Time{}, err
	}
	until, err := r.inner.RetainedUntil(ctx, name)
	if err != nil {
		return time.Time{}, err
	}
	return until, f.after
}
