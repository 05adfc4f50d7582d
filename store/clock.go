package store

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// clock is the time of a database.
type clock interface {
	// wall is what a clock on the wall shows.
	wall(ctx context.Context, db bun.IDB) (time.Time, error)
	// lease is the time that leases and delays are compared by.
	lease(ctx context.Context, db bun.IDB) (time.Time, error)
	// even is for how long lease has run evenly, as far as is known.
	even() time.Duration
	// setBack reports whether lease was set back of late.
	setBack() bool
}

// processClock is the time of a database that lives in this process.
type processClock struct {
	now    func() time.Time
	steady func() time.Duration
	begin  time.Time // what the wall clock said when steady was 0
}

// newProcessClock makes a clock of the machine's own, but for what o replaces.
func newProcessClock(o options) *processClock {
	c := &processClock{now: o.wall, steady: o.steady}
	if c.now == nil {
		c.now = time.Now
	}
	if c.steady == nil {
		c.steady = sinceNow()
	}
	c.begin = c.now().UTC().Add(-c.steady())
	return c
}

// sinceNow is a monotonic clock.
func sinceNow() func() time.Duration {
	begun := time.Now()
	return func() time.Duration { return time.Since(begun) }
}

func (c *processClock) wall(context.Context, bun.IDB) (time.Time, error) {
	return c.now().UTC().Truncate(time.Microsecond), nil
}

// lease begins where the wall clock stood when the database was opened, and
// runs on by the monotonic clock.
func (c *processClock) lease(context.Context, bun.IDB) (time.Time, error) {
	return c.begin.Add(c.steady()).Truncate(time.Microsecond), nil
}

func (*processClock) even() time.Duration { return math.MaxInt64 }
func (*processClock) setBack() bool       { return false }

const (
	// shownFor is for how long the wall clock is read on from one answer of the
	// server.
	shownFor = time.Second
	// A step of the server's clock is what differs from our own by more than this,
	// and by more than a thousandth: no clock is slewed faster.
	leastStep = time.Second
	// backFor is for how long a step back is told.
	backFor = time.Minute
)

// serverClock is the time of a database that several processes share: that of its
// server. Unlike a monotonic clock it may step, so every process compares it with
// its own. After a step forward leases that live on seem to have expired: nothing
// is taken over until they had the time to be renewed. After one back leases of
// the dead lie too far ahead, and are brought back (clampLeases).
type serverClock struct {
	ask    func(ctx context.Context, db bun.IDB) (time.Time, error)
	steady func() time.Duration

	mu      sync.Mutex
	last    time.Time     // the server's answer
	from    time.Duration // our own clock before it was asked,
	to      time.Duration // and after
	known   bool
	forward time.Duration // our own clock at the last step forward,
	stepped bool          // if there was one
	back    time.Duration // and at the last one back
	setback bool
}

func newServerClock() *serverClock {
	return &serverClock{ask: askServer, steady: sinceNow()}
}

func askServer(ctx context.Context, db bun.IDB) (time.Time, error) {
	var micro int64
	err := db.QueryRowContext(ctx, "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)").Scan(&micro)
	return time.UnixMicro(micro).UTC(), failed("clock", err)
}

func (c *serverClock) wall(ctx context.Context, db bun.IDB) (time.Time, error) {
	c.mu.Lock()
	last, passed, known := c.last, c.steady()-c.to, c.known
	c.mu.Unlock()
	if known && passed < shownFor {
		return last.Add(passed).Truncate(time.Microsecond), nil
	}
	return c.lease(ctx, db)
}

func (c *serverClock) lease(ctx context.Context, db bun.IDB) (time.Time, error) {
	from := c.steady()
	now, err := c.ask(ctx, db)
	if err != nil {
		return time.Time{}, err
	}
	c.note(now, from, c.steady())
	return now, nil
}

// note compares an answer that came between two moments with the one before.
func (c *serverClock) note(now time.Time, from, to time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known && to < c.to {
		return // another answer was faster
	}
	if c.known {
		theirs := now.Sub(c.last)
		least, most := from-c.to, to-c.from
		slack := leastStep + most/1000
		if theirs > most+slack {
			c.stepped, c.forward = true, to
		}
		if theirs < least-slack {
			c.setback, c.back = true, to
		}
	}
	c.last, c.from, c.to, c.known = now, from, to, true
}

func (c *serverClock) even() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stepped {
		return math.MaxInt64
	}
	return c.steady() - c.forward
}

func (c *serverClock) setBack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setback && c.steady()-c.back < backFor
}
