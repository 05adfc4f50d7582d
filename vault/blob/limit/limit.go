// Package limit slows a blob storage down to a number of bytes per second, so
// that backups leave room on a shared disk or uplink.
package limit

import (
	"context"
	"iter"

	"golang.org/x/time/rate"

	"holdfast/vault/blob"
)

// step is the most that is taken from the bucket at once, in bytes; it bounds
// the burst.
const step = 1 << 20

// New limits what is read from and written to st, together, to bytesPerSecond,
// which must be positive. Waiting ends with the caller's context.
func New(st blob.Storage, bytesPerSecond int64) blob.Storage {
	return &storage{st, rate.NewLimiter(rate.Limit(bytesPerSecond), step)}
}

type storage struct {
	blob.Storage
	bucket *rate.Limiter
}

func (s *storage) wait(ctx context.Context, n int) error {
	for ; n > 0; n -= step {
		if err := s.bucket.WaitN(ctx, min(n, step)); err != nil {
			return err
		}
	}
	return nil
}

// PutNew waits for its bytes, then stores them.
func (s *storage) PutNew(ctx context.Context, name string, data []byte) error {
	if err := s.wait(ctx, len(data)); err != nil {
		return err
	}
	return s.Storage.PutNew(ctx, name, data)
}

// Get waits for the bytes that it got: how many is known only then.
func (s *storage) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, err := s.Storage.Get(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	return b, s.wait(ctx, len(b))
}

// ReadAt waits for its bytes, then reads them.
func (s *storage) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	if err := s.wait(ctx, len(p)); err != nil {
		return err
	}
	return s.Storage.ReadAt(ctx, name, p, off)
}

// List is not limited.
func (s *storage) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return s.Storage.List(ctx, prefix)
}
