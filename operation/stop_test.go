package operation_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast"
	"holdfast/operation"
)

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		r := start(t, q, operation.Config{Poll: time.Hour}, func(ctx context.Context, run *operation.Run) (any, error) {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), operation.ErrCancelled) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			select { // cleaning up takes longer than the lease
			case <-time.After(3 * ttl):
			case <-run.Held().Done():
				t.Error("the lease was lost while cleaning up")
			}
			return nil, ctx.Err()
		})
		time.Sleep(ttl)
		q.cancel()
		time.Sleep(5 * ttl)
		if o := q.see(0); o.Failure == nil || o.Failure.Code != holdfast.CodeCancelled || o.Epoch != 1 {
			t.Errorf("%+v", o)
		}
		r.end(t)
	})
}

func TestCancelledWhileQueuedIsCleanedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := job()
		o.Cancel = true
		q := newMemQueue(o)
		var calls atomic.Int32
		r := start(t, q, operation.Config{Poll: time.Millisecond}, func(ctx context.Context, _ *operation.Run) (any, error) {
			if !errors.Is(context.Cause(ctx), operation.ErrCancelled) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			if calls.Add(1) == 1 {
				return nil, errors.New("cannot clean up")
			}
			return nil, operation.ErrCancelled
		})
		time.Sleep(5 * time.Second)
		if o := q.see(0); calls.Load() != 2 || o.Failure == nil || o.Failure.Code != holdfast.CodeCancelled {
			t.Errorf("%d calls, %+v", calls.Load(), o)
		}
		r.end(t)
	})
}

func TestPastTheCommitPointACancelComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		r := start(t, q, operation.Config{}, func(ctx context.Context, _ *operation.Run) (any, error) {
			<-ctx.Done()
			return "made", nil
		})
		q.cancel()
		time.Sleep(ttl)
		if o := q.see(0); string(o.Result) != `"made"` {
			t.Errorf("%+v", o)
		}
		r.end(t)
	})
}

func TestShutdownGivesBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		wait := func(ctx context.Context, _ *operation.Run) (any, error) {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), operation.ErrShutdown) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return nil, holdfast.E(holdfast.CodeSiteFull, "a consequence of stopping")
		}
		r := start(t, q, operation.Config{}, wait)
		synctest.Wait()
		begun := time.Now()
		r.end(t)
		o := q.see(0)
		if time.Since(begun) != 0 || o.Status != holdfast.OperationQueued || o.NotBefore.After(time.Now()) || o.Attempts != 0 {
			t.Errorf("after %v: %+v", time.Since(begun), o)
		}
	})
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		never := make(chan struct{})
		r := start(t, q, operation.Config{Grace: 7 * ttl}, func(context.Context, *operation.Run) (any, error) {
			<-never
			return "late", nil
		})
		synctest.Wait()
		begun := time.Now()
		r.stop()
		err := <-r.done
		if err == nil || !strings.Contains(err.Error(), string(q.see(0).ID)) || time.Since(begun) != 7*ttl {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		close(never)
		synctest.Wait()
		if o := q.see(0); len(o.outcomes) != 0 {
			t.Errorf("finished after it was given up: %+v", o)
		}
	})
}
