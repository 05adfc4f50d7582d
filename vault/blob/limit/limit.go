// Package limit slows a blob storage down to a number of bytes and of requests
// per second, so that backups leave room on a shared disk or uplink, and stay
// within what a provider allows or charges for.
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

// Rates are per second, for reading and writing together; 0 is no limit.
type Rates struct {
	Bytes    int64
	Requests int // calls; what a storage does more for one, as to try again, is not seen here
}

// New limits what is read from and written to st, together, to bytesPerSecond,
// which must be positive. Waiting ends with the caller's context.
func New(st blob.Storage, bytesPerSecond int64) blob.Storage {
	return NewRates(st, Rates{Bytes: bytesPerSecond})
}

// NewRates limits bytes, calls, or both. A blob.Retainer is found through it by
// blob.AsRetainer, and limited, too.
func NewRates(st blob.Storage, r Rates) blob.Storage {
	s := &storage{st, rate.NewLimiter(rate.Inf, step), rate.NewLimiter(rate.Inf, 1)}
	if r.Bytes > 0 {
		s.bytes.SetLimit(rate.Limit(r.Bytes))
	}
	if r.Requests > 0 {
		s.requests.SetLimit(rate.Limit(r.Requests))
	}
	return s
}

type storage struct {
	inner blob.Storage

	bytes, requests *rate.Limiter
}

// Unwrap implements blob.Wrapper.
func (s *storage) Unwrap() blob.Storage { return s.inner }

// wait takes bytes only: of a request that waited for its turn already.
func (s *storage) wait(ctx context.Context, n int) error {
	for ; n > 0; n -= step {
		if err := s.bytes.WaitN(ctx, min(n, step)); err != nil {
			return err
		}
	}
	return nil
}

// turn waits for a request's turn, and for its bytes.
func (s *storage) turn(ctx context.Context, n int) error {
	if err := s.requests.Wait(ctx); err != nil {
		return err
	}
	return s.wait(ctx, n)
}

// PutNew waits for its bytes, then stores them.
func (s *storage) PutNew(ctx context.Context, name string, data []byte) error {
	if err := s.turn(ctx, len(data)); err != nil {
		return err
	}
	return s.inner.PutNew(ctx, name, data)
}

// Get waits for the bytes that it got: how many is known only then.
func (s *storage) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := s.turn(ctx, 0); err != nil {
		return nil, err
	}
	b, err := s.inner.Get(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	return b, s.wait(ctx, len(b))
}

// ReadAt waits for its bytes, then reads them.
func (s *storage) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	if err := s.turn(ctx, len(p)); err != nil {
		return err
	}
	return s.inner.ReadAt(ctx, name, p, off)
}

// Stat waits for its turn.
func (s *storage) Stat(ctx context.Context, name string) (blob.Info, error) {
	if err := s.turn(ctx, 0); err != nil {
		return blob.Info{}, err
	}
	return s.inner.Stat(ctx, name)
}

// List waits for one turn, however many requests the list takes.
func (s *storage) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := s.turn(ctx, 0); err != nil {
			yield(blob.Info{}, err)
			return
		}
		s.inner.List(ctx, prefix)(yield)
	}
}

// Delete waits for its turn.
func (s *storage) Delete(ctx context.Context, name string) error {
	if err := s.turn(ctx, 0); err != nil {
		return err
	}
	return s.inner.Delete(ctx, name)
}
