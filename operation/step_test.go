package operation_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"holdfast"
	"holdfast/operation"
)

func TestStepsOutliveTheirRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		var first, second []int64 // the epochs that acted
		handler := func(ctx context.Context, run *operation.Run) (any, error) {
			v, err := operation.Do(ctx, run, "first", func(context.Context) (string, error) {
				first = append(first, run.Epoch())
				return "one", nil
			})
			if err != nil {
				return nil, err
			}
			if epoch, done, begun, err := operation.Begun(run, "second"); begun != (run.Epoch() > 1) || done || err != nil || (begun && epoch != run.Epoch()-1) {
				t.Errorf("epoch %d: begun by %d %v %v %v", run.Epoch(), epoch, done, begun, err)
			}
			return operation.Do(ctx, run, "second", func(context.Context) (string, error) {
				second = append(second, run.Epoch())
				if run.Epoch() < 3 {
					return "", errors.New("not yet")
				}
				return v + " and two", nil
			})
		}
		r := start(t, q, operation.Config{}, handler)
		time.Sleep(time.Minute)
		if o := q.see(0); string(o.Result) != `"one and two"` || len(first) != 1 || len(second) != 3 {
			t.Errorf("%+v %v %v", o, first, second)
		}
		r.end(t)
	})
}

// A step that has acted is journalled although the handler is to stop.
func TestAStepsResultIsKeptAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemQueue(job())
		acted := 0
		handler := func(ctx context.Context, run *operation.Run) (any, error) {
			_, err := operation.Do(ctx, run, "s", func(ctx context.Context) (int, error) {
				if acted++; acted == 1 {
					<-ctx.Done()
				}
				return acted, nil
			})
			if err != nil || ctx.Err() != nil {
				return nil, errors.Join(err, context.Cause(ctx))
			}
			return acted, nil
		}
		r := start(t, q, operation.Config{}, handler)
		synctest.Wait()
		r.end(t)
		start(t, q, operation.Config{Name: "b"}, handler).rest(t)
		if o := q.see(0); string(o.Result) != "1" || o.Epoch != 2 {
			t.Errorf("%+v", o)
		}
	})
}

// rest ends the runner after it has come to rest.
func (r *running) rest(t *testing.T) {
	t.Helper()
	synctest.Wait()
	r.end(t)
}

func TestDetached(t *testing.T) {
	run := operation.Detached(holdfast.Operation{Input: []byte(`{"grace":5}`)})
	var in holdfast.StopInput
	if err := run.Input(&in); err != nil || in.Grace != 5 {
		t.Errorf("%+v %v", in, err)
	}
	for range 2 {
		n, err := operation.Do(t.Context(), run, "s", func(context.Context) (int, error) { in.Grace++; return int(in.Grace), nil })
		if n != 6 || err != nil {
			t.Errorf("%d %v", n, err)
		}
	}
	run.Operation.Input = []byte(`{`)
	if err := run.Input(&in); err == nil {
		t.Error("read a broken input")
	}
}
