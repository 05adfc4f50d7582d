package operation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast"
)

// Config is how a Runner works. Zero fields take the values told.
type Config struct {
	// Name names the runner in the queue; it must differ from every other
	// runner's, those of earlier processes included.
	Name string
	// Host whose operations it takes.
	Host holdfast.HostID
	// Concurrency is how many operations run at once; 1. Quick kinds that must
	// not wait for slow ones get a runner of their own.
	Concurrency int
	// TTL of a lease; 15 s. It is renewed after a third, given up by the runner
	// after half, and claimed by a successor after the whole.
	TTL time.Duration
	// Poll is how long to wait for the next look at an empty queue; 1 s.
	Poll time.Duration
	// Publish is how often progress is published when there is news; 1 s, never
	// less often than the lease is renewed.
	Publish time.Duration
	// MaxAttempts bounds the tries that failed; 6.
	MaxAttempts int
	// FirstDelay and MostDelay bound the time between tries; 1 s, 5 min.
	FirstDelay, MostDelay time.Duration
	// Grace is how long handlers have to return at shutdown; 20 s.
	Grace time.Duration
	Log   *slog.Logger // slog.Default()
}

// maxClaims bounds how often an operation is claimed without a failure being
// told: one that kills its runner each time must end too.
const maxClaims = 200

// Runner claims operations from a queue and has them handled.
type Runner struct {
	cfg      Config
	queue    Queue
	handlers map[holdfast.Kind]Handler
	kinds    []holdfast.Kind

	mu      sync.Mutex
	working map[holdfast.JobID]context.CancelCauseFunc // each ends its lease
}

// NewRunner makes a runner for the kinds that have a handler.
func NewRunner(queue Queue, cfg Config, handlers map[holdfast.Kind]Handler) *Runner {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.TTL, 15*time.Second)
	def(&cfg.Poll, time.Second)
	def(&cfg.Publish, time.Second)
	def(&cfg.FirstDelay, time.Second)
	def(&cfg.MostDelay, 5*time.Minute)
	def(&cfg.Grace, 20*time.Second)
	cfg.Concurrency = max(cfg.Concurrency, 1)
	cfg.Publish = min(cfg.Publish, cfg.TTL/3)
	if cfg.MaxAttempts <= 0 {
		cfg.MaxAttempts = 6
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Runner{
		cfg: cfg, queue: queue, handlers: maps.Clone(handlers), kinds: slices.Sorted(maps.Keys(handlers)),
		working: map[holdfast.JobID]context.CancelCauseFunc{},
	}
}

// Run works until ctx ends, then gives back what is not done. It returns when
// every handler has, or after the grace: then with an error that names those
// that have not; their leases expire.
func (r *Runner) Run(ctx context.Context) error {
	slots := make(chan struct{}, r.cfg.Concurrency)
	var running sync.WaitGroup
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return r.drain(&running)
		}
		woken := r.woken()
		begun := time.Now()
		op, err := r.claim(ctx)
		if err == nil {
			running.Go(func() {
				defer func() { <-slots }()
				r.work(ctx, op, begun)
			})
			continue
		}
		<-slots
		if !errors.Is(err, ErrNone) {
			r.cfg.Log.WarnContext(ctx, "cannot claim operations", "runner", r.cfg.Name, "error", err)
		}
		idle := time.NewTimer(r.cfg.Poll)
		select {
		case <-ctx.Done():
		case <-idle.C:
		case <-woken:
		}
		idle.Stop()
	}
}

// woken must be asked before a claim, so that no signal is missed between the
// claim and the wait.
func (r *Runner) woken() <-chan struct{} {
	if w, ok := r.queue.(Wake); ok {
		return w.Woken()
	}
	return nil
}

// claim is not cut short by a shutdown: an operation claimed unawares would lie
// still until its lease expires.
func (r *Runner) claim(ctx context.Context) (holdfast.Operation, error) {
	if ctx.Err() != nil {
		return holdfast.Operation{}, ErrNone
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.TTL/2)
	defer cancel()
	return r.queue.Claim(ctx, ClaimRequest{Runner: r.cfg.Name, Host: r.cfg.Host, Kinds: r.kinds, TTL: r.cfg.TTL})
}

func (r *Runner) drain(running *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	grace := time.NewTimer(r.cfg.Grace)
	defer grace.Stop()
	select {
	case <-done:
		return nil
	case <-grace.C:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var stuck []string
	for id, lose := range r.working {
		stuck = append(stuck, string(id))
		lose(ErrLeaseLost)
	}
	slices.Sort(stuck)
	return fmt.Errorf("operation: still working after %v: %s", r.cfg.Grace, strings.Join(stuck, ", "))
}
