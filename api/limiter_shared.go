package api

import (
	"context"
	"sync"
	"time"

	"holdfast/control"
)

// For how long a process keeps what it has taken of a caller's limit, at most and at
// least.
const (
	holdTokens = time.Second
	leastHold  = 100 * time.Millisecond
)

// sharedLimiter limits by the generic cell rate algorithm over all processes on one
// database. Of a caller that asks often a process takes as many requests at once as
// it had in the last second; of one that is refused it knows for how long. The total
// never exceeds the limit: see store.Charge.
type sharedLimiter struct {
	rate   Rate
	charge func(ctx context.Context, caller string, c control.Charge) (granted bool, whole time.Duration, err error)
	clock  func() time.Time // for what is shown
	steady func() time.Duration

	mu    sync.Mutex
	known map[string]*sharedCaller
	swept time.Duration
}

// sharedCaller is what a process knows of a caller. Times are the process's own.
type sharedCaller struct {
	turn  chan struct{} // held by the one that asks the database
	whole time.Duration // when the burst is whole, as far as is known
	held  int           // requests that were taken and not made
	until time.Duration // when they lapse
	since time.Duration // when made began to be counted
	made  int           // requests in this second,
	rate  int           // and in the one before
}

// NewSharedLimiter limits in the database, for all its processes together.
func NewSharedLimiter(c *control.Control, rate Rate, clock func() time.Time) Limiter {
	begun := time.Now()
	return newSharedLimiter(rate, c.ChargeCaller, clock, func() time.Duration { return time.Since(begun) })
}

func newSharedLimiter(rate Rate, charge func(context.Context, string, control.Charge) (bool, time.Duration, error), clock func() time.Time, steady func() time.Duration) *sharedLimiter {
	return &sharedLimiter{rate: rate, charge: charge, clock: clock, steady: steady, known: map[string]*sharedCaller{}}
}

// step is how long a request takes to come back: whole microseconds, as the database
// counts.
func (l *sharedLimiter) step() time.Duration {
	return (time.Minute/time.Duration(l.rate.PerMinute) + time.Microsecond - 1).Truncate(time.Microsecond)
}

func (l *sharedLimiter) burst() time.Duration { return l.step() * time.Duration(l.rate.Burst) }

// Take implements Limiter. n is 0 or 1; 0 says what is known here.
func (l *sharedLimiter) Take(ctx context.Context, key string, n int) (Decision, error) {
	c, key := l.caller(key)
	if n == 0 {
		return l.decide(c, 0), nil
	}
	if d, ok := l.here(c); ok {
		return d, nil
	}
	// One asks for all; the others find what it has brought.
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return Decision{}, context.Cause(ctx)
	}
	if d, ok := l.here(c); ok {
		return d, nil
	}
	return l.ask(ctx, c, key)
}

// here decides by what is known, if it can.
func (l *sharedLimiter) here(c *sharedCaller) (Decision, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.steady()
	if now-c.since >= holdTokens {
		if c.rate = c.made; now-c.since >= 2*holdTokens {
			c.rate = 0
		}
		c.since, c.made = now, 0
	}
	if now >= c.until {
		c.held = 0
	}
	if c.held > 0 {
		c.held--
		c.made++
		return l.decided(c, now, 0), true
	}
	// What others take makes the wait longer, never shorter.
	if wait := c.whole + l.step() - now - l.burst(); wait > 0 {
		return l.decided(c, now, wait), true
	}
	return Decision{}, false
}

// ask takes of the caller's limit in the database: many requests, or one.
func (l *sharedLimiter) ask(ctx context.Context, c *sharedCaller, key string) (Decision, error) {
	for _, charge := range l.charges(c) {
		from := l.steady() // before the database has its moment: what is held lapses early
		granted, whole, err := l.charge(ctx, key, charge)
		if err != nil {
			return Decision{}, err
		}
		l.mu.Lock()
		c.whole = max(c.whole, from+whole)
		if granted {
			c.made++
			c.held, c.until = int(charge.Cost/l.step())-1, from+charge.Hold
			d := l.decided(c, l.steady(), 0)
			l.mu.Unlock()
			return d, nil
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.steady()
	return l.decided(c, now, max(c.whole+l.step()-now-l.burst(), time.Millisecond)), nil
}

// charges are what to try: as many requests as the caller made of late, for as long as
// it takes to make them, and one.
func (l *sharedLimiter) charges(c *sharedCaller) []control.Charge {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := control.Charge{Cost: l.step(), Burst: l.burst()}
	many := min(max(c.rate, c.made), l.rate.Burst/4)
	if many <= 1 {
		return []control.Charge{one}
	}
	apart := holdTokens / time.Duration(many) // from one request to the next
	if c.rate == 0 {
		apart = (l.steady() - c.since) / time.Duration(c.made)
	}
	hold := min(max(2*apart*time.Duration(many), leastHold), holdTokens)
	left := l.burst() - max(c.whole-l.steady(), hold) // as far as is known
	if many = min(many, int(left/l.step())); many <= 1 {
		return []control.Charge{one}
	}
	return []control.Charge{{Cost: one.Cost * time.Duration(many), Hold: hold, Burst: one.Burst}, one}
}

func (l *sharedLimiter) decide(c *sharedCaller, wait time.Duration) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.decided(c, l.steady(), wait)
}

// decided says how a caller stands; wait is 0 when the request is allowed.
func (l *sharedLimiter) decided(c *sharedCaller, now, wait time.Duration) Decision {
	owed := max(c.whole-now, 0)
	left := int((l.burst() - min(owed, l.burst())) / l.step())
	if now < c.until {
		left += c.held
	}
	return Decision{
		Allowed: wait == 0, Limit: l.rate.PerMinute, Remaining: min(left, l.rate.Burst),
		Reset: l.clock().Add(owed), RetryAfter: wait,
	}
}

// caller finds what is known of a caller, and whom it is charged to: beyond a number
// of callers new ones share one, so that a flood of them takes no memory without end.
func (l *sharedLimiter) caller(key string) (*sharedCaller, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.known[key]
	if now := l.steady(); c == nil && len(l.known) >= maxCallers && now-l.swept >= holdTokens {
		l.swept = now
		for k, c := range l.known {
			if c.whole <= now && len(c.turn) == 0 {
				delete(l.known, k)
			}
		}
	}
	if c == nil && len(l.known) >= maxCallers {
		key = overflow
		c = l.known[key]
	}
	if c == nil {
		c = &sharedCaller{turn: make(chan struct{}, 1)}
		l.known[key] = c
	}
	return c, key
}
