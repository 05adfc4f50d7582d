package store

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/uptrace/bun"
)

// A server's clock that steps is told from one that runs, however slow its answers
// and however seldom it is asked.
func TestStepsOfTheServersClock(t *testing.T) {
	var ours, theirs, answering time.Duration
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &serverClock{
		steady: func() time.Duration { return ours },
		ask: func(context.Context, bun.IDB) (time.Time, error) {
			ours, theirs = ours+answering, theirs+answering
			return start.Add(theirs), nil
		},
	}
	asked := func() {
		t.Helper()
		if now, err := c.lease(t.Context(), nil); err != nil || !now.Equal(start.Add(theirs)) {
			t.Errorf("%v instead of %v: %v", now, start.Add(theirs), err)
		}
	}
	pass := func(here, there time.Duration) {
		t.Helper()
		ours, theirs = ours+here, theirs+there
		asked()
	}
	quiet := func(what string) {
		t.Helper()
		if c.even() != math.MaxInt64 || c.setBack() {
			t.Errorf("%s: a step is told: %v, %v", what, c.even(), c.setBack())
		}
	}
	asked()
	quiet("at first")
	pass(time.Hour, time.Hour)
	quiet("in an hour")
	pass(time.Hour, time.Hour+3*time.Second)
	quiet("slewed")
	answering = 20 * time.Second
	pass(time.Second, time.Second)
	pass(time.Second, time.Second+500*time.Millisecond)
	quiet("slow answers")
	answering = 0
	asked()

	pass(time.Second, -time.Hour)
	if !c.setBack() || c.even() != math.MaxInt64 {
		t.Errorf("a step back is not told: %v, %v", c.setBack(), c.even())
	}
	pass(backFor, backFor)
	quiet("a minute later")

	pass(time.Second, time.Hour)
	if c.setBack() || c.even() != 0 {
		t.Errorf("a step forward is not told: %v, %v", c.setBack(), c.even())
	}
	pass(10*time.Second, 10*time.Second)
	if c.even() != 10*time.Second {
		t.Errorf("even for %v", c.even())
	}
}

// The wall clock is read on from one answer for a second, and asked for anew then.
func TestTheServersClockIsReadOn(t *testing.T) {
	var ours time.Duration
	asked := 0
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &serverClock{
		steady: func() time.Duration { return ours },
		ask: func(context.Context, bun.IDB) (time.Time, error) {
			asked++
			return start.Add(ours), nil
		},
	}
	for _, pass := range []time.Duration{0, 400 * time.Millisecond, 599 * time.Millisecond, time.Millisecond} {
		ours += pass
		if now, err := c.wall(t.Context(), nil); err != nil || !now.Equal(start.Add(ours)) {
			t.Errorf("%v: %v", now, err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}
