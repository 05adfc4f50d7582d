package api

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/control"
)

// ledger is the database's part of the algorithm, in memory; store has tests of the
// real one.
type ledger struct {
	now   time.Duration
	whole map[string]time.Duration
	asked int
	down  error
}

func (l *ledger) charge(_ context.Context, caller string, c control.Charge) (bool, time.Duration, error) {
	l.asked++
	if l.down != nil {
		return false, 0, l.down
	}
	whole := max(l.now+c.Hold, l.whole[caller]) + c.Cost
	if whole-l.now > c.Burst {
		return false, max(l.whole[caller]-l.now, 0), nil
	}
	l.whole[caller] = whole
	return true, whole - l.now, nil
}

func (l *ledger) limiter(rate Rate) *sharedLimiter {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return newSharedLimiter(rate, l.charge, func() time.Time { return start.Add(l.now) }, func() time.Duration { return l.now })
}

// Whatever several processes take and hold, all requests that they allow together
// keep to the algorithm, one by one; and a refused one that waits as it is told is
// allowed, if nobody else asked meanwhile.
func TestSharedLimitIsNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate{PerMinute: rapid.SampledFrom([]int{7, 60, 1200, 7000}).Draw(t, "rate"), Burst: rapid.IntRange(1, 60).Draw(t, "burst")}
		l := &ledger{whole: map[string]time.Duration{}}
		processes := []*sharedLimiter{l.limiter(rate), l.limiter(rate), l.limiter(rate)}
		step, burst := processes[0].step(), processes[0].burst()
		var whole time.Duration // by the requests that were allowed
		for range rapid.IntRange(1, 400).Draw(t, "requests") {
			l.now += time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 1, 5, 40, 300, 1500}).Draw(t, "ms")) * time.Millisecond
			p := rapid.SampledFrom(processes).Draw(t, "process")
			d, err := p.Take(t.Context(), "a", 1)
			if err != nil {
				t.Fatal(err)
			}
			if d.Remaining < 0 || d.Remaining > rate.Burst || d.Limit != rate.PerMinute {
				t.Fatalf("%+v", d)
			}
			if !d.Allowed {
				if d.RetryAfter <= 0 {
					t.Fatalf("refused for no time: %+v", d)
				}
				if rapid.Bool().Draw(t, "waits") {
					l.now += d.RetryAfter
					if d, err = p.Take(t.Context(), "a", 1); err != nil || !d.Allowed {
						t.Fatalf("after waiting as told: %+v %v", d, err)
					}
				}
			}
			if d.Allowed {
				if whole = max(whole, l.now) + step; whole-l.now > burst {
					t.Fatalf("%v more than the burst are owed", whole-l.now-burst)
				}
			}
		}
	})
}

// One process gives a lone caller what the limiter in memory gives, whole bursts too.
func TestSharedLimiterGivesWhatIsDue(t *testing.T) {
	l := &ledger{whole: map[string]time.Duration{}}
	s := l.limiter(Rate{PerMinute: 1200, Burst: 200})
	allowed := 0
	for range 400 {
		if d, err := s.Take(t.Context(), "a", 1); err == nil && d.Allowed {
			allowed++
		}
	}
	if allowed < 195 || allowed > 200 || l.asked > 40 {
		t.Errorf("%d of a burst of 200, for which the database was asked %d times", allowed, l.asked)
	}
	// At the sustained rate nobody is refused, and the database is asked seldom.
	l.now += time.Minute
	l.asked = 0
	for range 1200 {
		l.now += 50 * time.Millisecond
		if d, err := s.Take(t.Context(), "a", 1); err != nil || !d.Allowed {
			t.Fatalf("at the sustained rate: %+v, %v", d, err)
		}
	}
	if l.asked > 120 {
		t.Errorf("asked %d times for 1200 requests", l.asked)
	}
	// Neither looking nor being refused asks.
	for range 300 {
		_, _ = s.Take(t.Context(), "a", 1)
	}
	l.asked = 0
	for range 1000 {
		look, lerr := s.Take(t.Context(), "a", 0)
		d, err := s.Take(t.Context(), "a", 1)
		if err != nil || lerr != nil || d.Allowed || look.Limit != 1200 {
			t.Fatalf("%+v %v %+v %v", look, lerr, d, err)
		}
	}
	if l.asked != 0 {
		t.Errorf("asked %d times by one that is refused", l.asked)
	}
}

func TestSharedLimiterFailsAndIsBounded(t *testing.T) {
	l := &ledger{whole: map[string]time.Duration{}, down: errors.New("away")}
	s := l.limiter(Rate{PerMinute: 60, Burst: 3})
	if _, err := s.Take(t.Context(), "a", 1); !errors.Is(err, l.down) {
		t.Error(err)
	}
	l.down = nil
	for i := range maxCallers + 100 {
		if _, err := s.Take(t.Context(), fmt.Sprint("flood", i), 1); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.known) > maxCallers+1 {
		t.Errorf("%d callers are kept", len(s.known))
	}
	l.now += time.Minute
	if d, err := s.Take(t.Context(), "late", 1); err != nil || !d.Allowed || len(s.known) > 2 {
		t.Errorf("%+v %v, %d kept", d, err, len(s.known))
	}
}
