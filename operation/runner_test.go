package operation_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast"
	"holdfast/operation"
)

const ttl = 3 * time.Second

func job() holdfast.Operation {
	return holdfast.Operation{ID: holdfast.NewID[holdfast.JobID](), Kind: holdfast.KindBackup, Input: []byte(`{}`)}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// running is a runner at work in a bubble of fake time.
type running struct {
	stop context.CancelFunc
	done chan error
	log  *safeBuffer
}

func start(t *testing.T, q operation.Queue, cfg operation.Config, h operation.Handler) *running {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "a"
	}
	if cfg.TTL == 0 {
		cfg.TTL = ttl
	}
	r := &running{done: make(chan error, 1), log: &safeBuffer{}}
	cfg.Log = slog.New(slog.NewTextHandler(r.log, nil))
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	runner := operation.NewRunner(q, cfg, map[holdfast.Kind]operation.Handler{holdfast.KindBackup: h})
	go func() { r.done <- runner.Run(ctx) }()
	return r
}

// end stops the runner, which must have nothing to complain of.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

func TestCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue()
		r := start(t, q, operation.Config{Poll: time.Hour}, func(_ context.Context, run *operation.Run) (any, error) {
			run.Progress(5, 10, "half")
			return map[string]int{"n": 7}, nil
		})
		synctest.Wait()
		begun := time.Now()
		q.add(job()) // wakes the runner: the next poll is an hour away
		synctest.Wait()
		if o := q.see(0); o.Status != holdfast.OperationCompleted || string(o.Result) != `{"n":7}` || o.Progress.Current != 5 {
			t.Errorf("%+v", o)
		}
		if time.Since(begun) != 0 {
			t.Error("not woken")
		}
		r.end(t)
	})
}

func TestRenewsEveryThird(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		begun := time.Now()
		r := start(t, q, operation.Config{Publish: time.Hour}, func(ctx context.Context, _ *operation.Run) (any, error) {
			select {
			case <-time.After(10*ttl + time.Millisecond):
				return nil, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		})
		time.Sleep(11 * ttl)
		r.end(t)
		if o := q.see(0); o.Status != holdfast.OperationCompleted || o.Epoch != 1 {
			t.Errorf("%+v", o)
		}
		renewed := q.renewals()
		if len(renewed) != 30 {
			t.Fatalf("%d renewals", len(renewed))
		}
		for i, at := range renewed {
			if want := begun.Add(time.Duration(i+1) * ttl / 3); !at.Equal(want) {
				t.Errorf("renewal %d at %v, want %v", i, at, want)
			}
		}
	})
}

// Whatever keeps the renewals from coming through, the handler's context ends
// half a TTL after the last one that did, and nothing is finished.
func TestStopsItselfAfterHalfATTL(t *testing.T) {
	unreachable := errors.New("unreachable")
	for name, fail := range map[string]func(ctx context.Context, call string) error{
		"refused": func(_ context.Context, call string) error {
			if call == "claim" {
				return nil
			}
			return unreachable
		},
		"hangs": func(ctx context.Context, call string) error {
			if call == "claim" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newMemQueue(job())
				stopped := make(chan time.Time, 1)
				r := start(t, q, operation.Config{Poll: time.Hour}, func(ctx context.Context, run *operation.Run) (any, error) {
					<-ctx.Done()
					stopped <- time.Now()
					if !errors.Is(context.Cause(ctx), operation.ErrLeaseLost) || run.Held().Err() == nil {
						t.Errorf("cause %v", context.Cause(ctx))
					}
					return "done", nil
				})
				time.Sleep(ttl + time.Millisecond)
				renewed := q.renewals()
				last := renewed[len(renewed)-1]
				q.setFail(fail)
				at := <-stopped
				if got := at.Sub(last); got != ttl/2 {
					t.Errorf("stopped %v after the last renewal", got)
				}
				q.setFail(nil)
				synctest.Wait()
				if o := q.see(0); o.Status != holdfast.OperationInProgress || len(o.outcomes) != 0 {
					t.Errorf("ended without the lease: %+v", o)
				}
				r.end(t)
			})
		})
	}
}

// A lease that is never renewed is given up half a TTL after the claim was
// asked for, however long the claim took.
func TestTheFirstHalfBeginsWithTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		q.setFail(func(_ context.Context, call string) error {
			if call == "claim" {
				time.Sleep(ttl / 3)
				return nil
			}
			return errors.New("unreachable")
		})
		begun := time.Now()
		stopped := make(chan time.Time, 1)
		r := start(t, q, operation.Config{Poll: time.Hour}, func(ctx context.Context, _ *operation.Run) (any, error) {
			<-ctx.Done()
			stopped <- time.Now()
			return nil, ctx.Err()
		})
		if got := (<-stopped).Sub(begun); got != ttl/2 {
			t.Errorf("stopped %v after the claim was asked for", got)
		}
		q.setFail(nil)
		r.end(t)
	})
}

// A runner that was stopped as a whole (SIGSTOP) comes back after its lease has
// been taken over: nothing it writes counts, and its handler ends.
func TestPausedRunnerIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		pause := make(chan struct{})
		saved := make(chan error, 1)
		r := start(t, q, operation.Config{Poll: time.Hour}, func(ctx context.Context, run *operation.Run) (any, error) {
			<-pause
			saved <- run.Save(context.WithoutCancel(ctx), "late", 1)
			return "late", nil
		})
		synctest.Wait()
		// The paused process neither renews nor gives up by its clock.
		q.setFail(func(ctx context.Context, call string) error {
			if call == "renew" {
				<-pause
			}
			return nil
		})
		time.Sleep(ttl/3 + ttl + time.Millisecond)
		q.setFail(nil)
		r2 := start(t, q, operation.Config{Name: "b"}, func(context.Context, *operation.Run) (any, error) { return "second", nil })
		synctest.Wait()
		close(pause)
		if err := <-saved; !errors.Is(err, operation.ErrLeaseLost) {
			t.Errorf("a late write: %v", err)
		}
		r.end(t)
		r2.end(t)
		if o := q.see(0); string(o.Result) != `"second"` || o.Epoch != 2 || len(o.journal) != 0 {
			t.Errorf("%+v", o)
		}
	})
}

func TestALostLeaseEndsTheHandlerAtItsNextWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		r := start(t, q, operation.Config{Poll: time.Hour}, func(ctx context.Context, run *operation.Run) (any, error) {
			q.mu.Lock()
			q.ops[0].Epoch++ // a successor
			q.mu.Unlock()
			if err := run.Save(ctx, "x", 1); !errors.Is(err, operation.ErrLeaseLost) {
				t.Errorf("saved without the lease: %v", err)
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		synctest.Wait()
		if got := q.see(0).outcomes; len(got) != 0 {
			t.Errorf("finished without the lease: %+v", got)
		}
		r.end(t)
	})
}

type answer struct {
	again bool
	after time.Duration
}

func (answer) Error() string                      { return "secret cause" }
func (a answer) Retryable() (bool, time.Duration) { return a.again, a.after }

func TestOutcomes(t *testing.T) {
	internal := holdfast.CodeInternal
	for name, c := range map[string]struct {
		err   error
		panic any
		tries int32
		code  holdfast.Code
		took  time.Duration // at least
	}{
		"final code":           {err: holdfast.E(holdfast.CodeBackupDamaged, "The backup is damaged."), tries: 1, code: holdfast.CodeBackupDamaged},
		"full":                 {err: holdfast.E(holdfast.CodeSiteFull, "The site is full."), tries: 1, code: holdfast.CodeSiteFull},
		"passing code":         {err: holdfast.E(holdfast.CodeHostUnavailable, "Gone."), tries: 4, code: holdfast.CodeHostUnavailable, took: 7 * time.Second},
		"unknown":              {err: errors.New("secret cause"), tries: 4, code: internal, took: 7 * time.Second},
		"says no":              {err: holdfast.Wrap(internal, "", "Sorry.", answer{}), tries: 1, code: internal},
		"says yes, and when":   {err: holdfast.Wrap(holdfast.CodeSiteFull, "", "Full.", answer{true, time.Hour}), tries: 4, code: holdfast.CodeSiteFull, took: 3 * time.Hour},
		"panic":                {panic: "secret cause", tries: 4, code: internal, took: 7 * time.Second},
		"report cannot be had": {tries: 4, code: internal, took: 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newMemQueue(job())
				var tries atomic.Int32
				ended := make(chan struct{})
				begun := time.Now()
				r := start(t, q, operation.Config{MaxAttempts: 4, Poll: 500 * time.Millisecond}, func(context.Context, *operation.Run) (any, error) {
					if tries.Add(1) == c.tries {
						close(ended)
					}
					if c.panic != nil {
						panic(c.panic)
					}
					return func() {}, c.err
				})
				<-ended
				synctest.Wait()
				o := q.see(0)
				if o.Status != holdfast.OperationFailed || o.Failure.Code != c.code || o.Failure.Message == "" {
					t.Errorf("%v %+v", o.Status, o.Failure)
				}
				if strings.Contains(o.Failure.Message, "secret") {
					t.Error("the user is told the cause")
				}
				if took := time.Since(begun); took < c.took || took > c.took*3/2+2*time.Second {
					t.Errorf("took %v", took)
				}
				if c.panic != nil && !strings.Contains(r.log.String(), "runner_test.go") {
					t.Errorf("no stack in the log: %s", r.log)
				}
				r.end(t)
			})
		})
	}
}

func TestFinishIsTriedUntilItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		var fails atomic.Int32
		q.setFail(func(_ context.Context, call string) error {
			if call == "finish" && fails.Add(1) < 20 {
				return holdfast.E(holdfast.CodeDatabaseFull, "full")
			}
			return nil
		})
		r := start(t, q, operation.Config{}, func(context.Context, *operation.Run) (any, error) { return "kept", nil })
		time.Sleep(20 * ttl)
		if o := q.see(0); string(o.Result) != `"kept"` || o.Epoch != 1 {
			t.Errorf("%+v", o)
		}
		r.end(t)
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job(), job(), job(), job(), job())
		var now, most atomic.Int32
		r := start(t, q, operation.Config{Concurrency: 2}, func(context.Context, *operation.Run) (any, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(ttl)
			now.Add(-1)
			return nil, nil
		})
		time.Sleep(10 * ttl)
		if most.Load() != 2 || q.see(4).Status != holdfast.OperationCompleted {
			t.Errorf("at most %d at once; the last is %v", most.Load(), q.see(4).Status)
		}
		r.end(t)
	})
}

func TestAnOperationThatKillsItsRunnersEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := job()
		o.Epoch = 1000
		q := newMemQueue(o)
		r := start(t, q, operation.Config{}, func(context.Context, *operation.Run) (any, error) {
			t.Error("handled once more")
			return nil, nil
		})
		synctest.Wait()
		if o := q.see(0); o.Status != holdfast.OperationFailed || o.Failure.Code != holdfast.CodeInternal {
			t.Errorf("%+v", o)
		}
		r.end(t)
	})
}
