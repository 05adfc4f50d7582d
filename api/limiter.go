package api

import (
	"context"
	"sync"
	"time"
)

// Rate is how many requests a caller may make.
type Rate struct {
	PerMinute int // sustained; also what X-RateLimit-Limit says
	Burst     int // at once, after a pause
}

// DefaultRate is what a key may do unless the operator configures another.
var DefaultRate = Rate{PerMinute: 1200, Burst: 200}

// Decision is what a Limiter says of one request.
type Decision struct {
	Allowed    bool
	Limit      int           // requests a minute
	Remaining  int           // requests that would be allowed at once after this
	Reset      time.Time     // when all of the burst is available again
	RetryAfter time.Duration // how long to wait, when not allowed
}

// Limiter counts requests. Implementations are safe for concurrent use; one
// that is shared by several processes takes the place of the one in memory.
type Limiter interface {
	// Take counts n requests of the caller named by key; n = 0 only looks.
	Take(ctx context.Context, key string, n int) (Decision, error)
}

// memoryLimiter limits by the generic cell rate algorithm: of each caller it
// keeps only the instant at which its burst is whole again.
type memoryLimiter struct {
	rate  Rate
	clock func() time.Time

	mu    sync.Mutex
	whole map[string]time.Time
	swept time.Time
}

// maxCallers bounds the memory that a flood of addresses can take; beyond it
// new callers share one entry.
const (
	maxCallers = 1 << 16
	overflow   = "overflow"
)

// NewLimiter limits in the memory of this process.
func NewLimiter(rate Rate, clock func() time.Time) Limiter {
	return &memoryLimiter{rate: rate, clock: clock, whole: map[string]time.Time{}}
}

// Take implements Limiter; its error is always nil.
func (l *memoryLimiter) Take(_ context.Context, key string, n int) (Decision, error) {
	step := time.Minute / time.Duration(l.rate.PerMinute)
	burst := step * time.Duration(l.rate.Burst)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	key = l.entry(key, now)
	whole := l.whole[key]
	if whole.Before(now) {
		whole = now
	}
	next := whole.Add(step * time.Duration(n))
	d := Decision{Allowed: true, Limit: l.rate.PerMinute}
	if over := next.Sub(now) - burst; over > 0 {
		d.Allowed, d.RetryAfter, next = false, over, whole
	} else if n > 0 {
		l.whole[key] = next
	}
	d.Remaining = int((burst - next.Sub(now)) / step)
	d.Reset = next
	return d, nil
}

// entry makes room for key, or names the entry that it has to share.
func (l *memoryLimiter) entry(key string, now time.Time) string {
	if _, known := l.whole[key]; known || len(l.whole) < maxCallers {
		return key
	}
	if now.Sub(l.swept) >= time.Second {
		l.swept = now
		for k, whole := range l.whole {
			if !whole.After(now) {
				delete(l.whole, k)
			}
		}
	}
	if len(l.whole) < maxCallers {
		return key
	}
	return overflow
}
