package operation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// keeper keeps one lease: it renews it after a third of its TTL, sooner when
// there is progress to publish, and gives it up by the monotonic clock after
// half a TTL without a renewal. Then nothing that its runner still does can
// come later than a successor's claim, unless the whole process was stopped
// meanwhile; against that the epoch guards.
type keeper struct {
	run          *Run
	ttl, publish time.Duration
	log          *slog.Logger
	cancel       func() // a cancel was asked for

	mu      sync.Mutex // held while renewing
	renewed time.Time  // when the last renewal that succeeded was asked for
	giveUp  *time.Timer
}

// keep begins; the function it returns ends it, and waits for its end.
func (k *keeper) keep(held context.Context, begun time.Time) (release func()) {
	k.renewed = begun
	k.giveUp = time.AfterFunc(time.Until(begun.Add(k.ttl/2)), func() {
		k.run.lost(fmt.Errorf("%w: not renewed for half of its time", ErrLeaseLost))
	})
	ctx, stop := context.WithCancel(held)
	var loop sync.WaitGroup
	loop.Go(func() { k.loop(ctx) })
	return func() {
		stop()
		loop.Wait()
		k.giveUp.Stop()
	}
}

func (k *keeper) loop(ctx context.Context) {
	next := time.NewTimer(k.publish)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if err := k.renew(ctx, false); err != nil {
			next.Reset(k.ttl / 20)
		} else {
			next.Reset(k.publish)
		}
	}
}

// last publishes what progress is left, before the operation ends.
func (k *keeper) last(ctx context.Context) {
	if err := k.renew(ctx, true); err != nil {
		k.log.WarnContext(ctx, "cannot publish the last progress", "error", err)
	}
}

// renew renews when it is time to, or there is news.
func (k *keeper) renew(ctx context.Context, newsOnly bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, news := k.run.progress.take()
	// A renewal on time leaves room for tries before the lease is given up.
	due := !newsOnly && time.Since(k.renewed)+k.publish > k.ttl/3
	if !news && !due {
		return nil
	}
	asked := time.Now()
	tctx, done := context.WithTimeout(ctx, k.ttl/6)
	cancel, err := k.run.queue.Renew(tctx, k.run.lease, k.ttl, p)
	done()
	switch {
	case err == nil:
		k.renewed = asked
		// A timer that has fired has lost the lease for good.
		if k.giveUp.Stop() {
			k.giveUp.Reset(time.Until(asked.Add(k.ttl / 2)))
		}
		if cancel {
			k.cancel()
		}
		return nil
	case errors.Is(err, ErrLeaseLost):
		k.run.lost(err)
	case ctx.Err() == nil:
		k.log.WarnContext(ctx, "cannot renew the lease", "error", err)
	}
	k.run.progress.unpublished()
	return err
}
