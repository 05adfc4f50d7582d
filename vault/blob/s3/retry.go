package s3

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"holdfast/vault/blob"
)

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 10 * time.Second
)

// retry runs do until it succeeds, fails for good, was tried often enough, or
// ctx ends. A sentinel of package blob comes back inside an *Error, too.
func (s *Storage) retry(ctx context.Context, op string, do func(context.Context, *attempt) error) error {
	for n := 1; ; n++ {
		a := &attempt{}
		err := do(withAttempt(ctx, a), a)
		if err == nil {
			return nil
		}
		if end := ended(ctx); end != nil {
			return &Error{Op: op, Attempts: n, Err: errors.Join(ctx.Err(), end), again: false}
		}
		f := judge(err)
		if !f.again || n >= s.config.Attempts {
			return &Error{Op: op, Status: f.status, Code: f.code, Attempts: n, Err: f.err, again: f.again}
		}
		if err := pause(ctx, wait(n, a.retryAfter)); err != nil {
			return &Error{Op: op, Attempts: n, Err: errors.Join(err, f.err), again: false}
		}
	}
}

// wait is a random time up to twice that of the attempt before, so that clients
// that failed together do not come back together; at least what the server
// asked for, within reason.
func wait(n int, asked time.Duration) time.Duration {
	top := min(maxPause, firstPause<<min(n-1, 10))
	return max(rand.N(top)+1, min(asked, maxPause)) // #nosec G404 -- jitter
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func absent(err error) bool { return errors.Is(err, blob.ErrNotFound) }
