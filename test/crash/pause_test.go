package crash

import (
	"context"
	"sync"
	"testing"
	"time"

	"holdfast/internal/vmtest"
)

// most is how long a guest may stay paused.
const most = 5 * time.Second

// pauses finds the longest time in which a guest wrote nothing. It is never told
// too short, but too long by what lies between two questions.
type pauses struct {
	stop func()
	done sync.WaitGroup
	most time.Duration
}

// watchPauses asks the guest for its log's last entry all the time.
func (w *world) watchPauses(t *testing.T) *pauses {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &pauses{stop: cancel}
	t.Cleanup(func() { cancel(); p.done.Wait() })
	p.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		last, since := "", time.Now()
		for {
			now, err := vmtest.Get(ctx, w.web+"/log/count")
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

func (p *pauses) check(t *testing.T) {
	t.Helper()
	p.stop()
	p.done.Wait()
	t.Logf("the longest time without a write of the guest was %s", p.most)
	if p.most > most {
		t.Errorf("the guest wrote nothing for %s", p.most)
	}
}
