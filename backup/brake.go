package backup

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"holdfast/compute"
	"holdfast/disk"
)

// Limits keep a backup from being felt by the VPS. The zero value is no limits.
type Limits struct {
	// BytesPerSecond is how fast the disks of one backup are read.
	BytesPerSecond int64
	// WriteLatency is how long the VPS's writes may take, 99 in a hundred of
	// them, before reading pauses.
	WriteLatency time.Duration
	// RetryWriteBytesPerSecond is what the VPS may write in the second try of a
	// backup whose scratch was exhausted; 0 is no second try.
	RetryWriteBytesPerSecond int64
	// Every is how often that is looked at; each second when 0.
	Every time.Duration
}

const (
	// mostPaused is how many looks in a row reading pauses for at most; then it
	// goes on for one, so that a backup ends also of a VPS that is slow by itself
	// or whose hypervisor says so.
	mostPaused = 10
	// readStep is the most that is taken from the limiter at once, in bytes.
	readStep = 1 << 20
)

// brake slows the reading of a backup's disks. It is safe for concurrent use.
type brake struct {
	limits  Limits
	latency func(context.Context) (before, during compute.Latency, err error)
	tell    func(note string)
	log     *slog.Logger
	bytes   *rate.Limiter

	mu   sync.Mutex
	open chan struct{} // closed while reading may go on
}

func newBrake(l Limits, latency func(context.Context) (before, during compute.Latency, err error), tell func(string), log *slog.Logger) *brake {
	k := &brake{limits: l, latency: latency, tell: tell, log: log, bytes: rate.NewLimiter(rate.Inf, readStep), open: make(chan struct{})}
	close(k.open)
	if l.BytesPerSecond > 0 {
		k.bytes.SetLimit(rate.Limit(l.BytesPerSecond))
	}
	if k.limits.Every == 0 {
		k.limits.Every = time.Second
	}
	return k
}

// watch looks at the VPS's writes until ctx ends, and pauses and resumes reading.
func (k *brake) watch(ctx context.Context) {
	if k.limits.WriteLatency <= 0 {
		return
	}
	tick := time.NewTicker(k.limits.Every)
	defer tick.Stop()
	var last compute.Latency
	for paused := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_, now, err := k.latency(ctx)
		if err != nil {
			// What has become of the point in time, the next read will tell.
			k.log.DebugContext(ctx, "the latency of the VPS's writes is not known", "err", err)
			now = last
		}
		took := now.Since(last).Quantile(0.99)
		last = now
		if took > k.limits.WriteLatency && paused < mostPaused {
			paused++
			k.pause(took)
		} else {
			paused = 0
			k.resume()
		}
	}
}

func (k *brake) pause(took time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.open:
		k.open = make(chan struct{})
	default:
	}
	k.tell(fmt.Sprintf("waiting because the VPS's writes take up to %s", took))
}

func (k *brake) resume() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.open:
	default:
		close(k.open)
		k.tell("")
	}
}

// wait returns when n bytes may be read.
func (k *brake) wait(ctx context.Context, n int) error {
	for ; n > 0; n -= readStep {
		k.mu.Lock()
		open := k.open
		k.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := k.bytes.WaitN(ctx, min(n, readStep)); err != nil {
			return err
		}
	}
	return nil
}

// braked reads a disk as the brake allows.
type braked struct {
	ctx   context.Context //nolint:containedctx // ReadAt has none
	src   disk.Source
	brake *brake
}

var _ io.ReaderAt = (*braked)(nil)

// ReadAt implements io.ReaderAt.
func (r *braked) ReadAt(p []byte, off int64) (int, error) {
	if err := r.brake.wait(r.ctx, len(p)); err != nil {
		return 0, err
	}
	return r.src.ReadAt(p, off)
}
