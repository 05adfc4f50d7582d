package service

import (
	"context"
	"sync"
	"testing"
	"time"

	"holdfast/internal/vmtest"
)

// mostPause is how long a guest may write nothing while it is backed up.
const mostPause = 5 * time.Second

// Pauses finds the longest time in which a guest wrote nothing. It is never told
// too short, but too long by what lies between two questions.
type Pauses struct {
	stop func()
	done sync.WaitGroup
	most time.Duration
}

// WatchPauses asks the guest behind web for its log's last entry all the time.
func WatchPauses(t *testing.T, web string) *Pauses {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &Pauses{stop: cancel}
	t.Cleanup(func() { cancel(); p.done.Wait() })
	p.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		last, since := "", time.Now()
		for {
			now, err := vmtest.Get(ctx, web+"/log/count")
			if ctx.Err() != nil {
				return
			}
			// Before a new entry counts: a paused guest answers only afterwards.
			p.most = max(p.most, time.Since(since))
			if err == nil && now != last {
				last, since = now, time.Now()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return p
}

// Check ends the watch, and fails the test when the guest was paused too long.
func (p *Pauses) Check(t *testing.T) {
	t.Helper()
	p.stop()
	p.done.Wait()
	t.Logf("the longest time without a write of the guest was %s", p.most)
	if p.most > mostPause {
		t.Errorf("the guest wrote nothing for %s", p.most)
	}
}
