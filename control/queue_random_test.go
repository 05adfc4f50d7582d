package control_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast"
	"holdfast/operation"
)

// modelOp is what an operation must look like.
type modelOp struct {
	id       holdfast.JobID
	status   holdfast.OperationStatus
	epoch    int64
	runner   string
	until    time.Duration // of the lease, by the lease clock
	due      time.Duration
	attempts int
	journal  map[string]string
}

// queueModel plays random schedules against the queue and the rules at once.
type queueModel struct {
	w      *queueWorld
	ops    []*modelOp
	leases []operation.Lease // all that were ever given
}

func (m *queueModel) now() time.Duration { return time.Duration(m.w.steady.Load()) }

func (m *queueModel) add(*rapid.T) {
	if len(m.ops) < 4 {
		o := m.w.add(holdfast.Operation{Kind: holdfast.KindVPSStart})
		m.ops = append(m.ops, &modelOp{id: o.ID, status: holdfast.OperationQueued, due: -1, journal: map[string]string{}})
	}
}

func (m *queueModel) pass(t *rapid.T) {
	m.w.pass(time.Duration(rapid.IntRange(1, int(queueTTL*3/2/time.Microsecond)).Draw(t, "µs")) * time.Microsecond)
}

func (m *queueModel) jump(t *rapid.T) { m.w.wall.Store(rapid.Int64Range(-1e6, 1e6).Draw(t, "wall")) }

func (m *queueModel) claim(t *rapid.T) {
	runner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "runner")
	o, l, err := m.w.tryClaim(m.w.queue, runner)
	var free []*modelOp
	for _, x := range m.ops {
		if x.status == holdfast.OperationQueued && x.due <= m.now() || x.status == holdfast.OperationInProgress && x.until < m.now() {
			free = append(free, x)
		}
	}
	if errors.Is(err, operation.ErrNone) {
		if len(free) != 0 {
			t.Fatalf("nothing to claim, but %+v is free", free[0])
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(free, func(x *modelOp) bool { return x.id == o.ID })
	if i < 0 {
		t.Fatalf("claimed %s, which is not free", o.ID)
	}
	x := free[i]
	x.status, x.runner, x.until = holdfast.OperationInProgress, runner, m.now()+queueTTL
	x.epoch++
	if o.Epoch != x.epoch || o.Attempts != x.attempts {
		t.Fatalf("claimed %+v, want %+v", o, x)
	}
	m.leases = append(m.leases, l)
}

// lease draws one that was given at some time, and the operation that it still
// holds, if it does.
func (m *queueModel) lease(t *rapid.T) (operation.Lease, *modelOp) {
	if len(m.leases) == 0 {
		return operation.Lease{Job: "job_none", Epoch: 1, Runner: "a"}, nil
	}
	l := rapid.SampledFrom(m.leases).Draw(t, "lease")
	for _, x := range m.ops {
		if x.id == l.Job && x.status == holdfast.OperationInProgress && x.epoch == l.Epoch && x.runner == l.Runner {
			return l, x
		}
	}
	return l, nil
}

// check fails unless the lease's write went through exactly when it holds.
func check(t *rapid.T, what string, holder *modelOp, err error) bool {
	switch {
	case holder == nil && !errors.Is(err, operation.ErrLeaseLost):
		t.Fatalf("%s with a lost lease: %v", what, err)
	case holder != nil && err != nil:
		t.Fatalf("%s with a good lease: %v", what, err)
	}
	return holder != nil
}

func (m *queueModel) renew(t *rapid.T) {
	l, x := m.lease(t)
	_, err := m.w.queue.Renew(m.w.t.Context(), l, queueTTL, holdfast.Progress{Current: 1, Total: 2})
	if check(t, "renew", x, err) {
		x.until = m.now() + queueTTL
	}
}

func (m *queueModel) journal(t *rapid.T) {
	l, x := m.lease(t)
	key := rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "key")
	value := fmt.Sprintf(`"%s by %d"`, key, l.Epoch)
	if check(t, "journal", x, m.w.queue.Journal(m.w.t.Context(), l, key, json.RawMessage(value))) {
		x.journal[key] = value
	}
}

func (m *queueModel) entries(t *rapid.T) {
	l, x := m.lease(t)
	got, err := m.w.queue.Entries(m.w.t.Context(), l)
	if !check(t, "entries", x, err) {
		return
	}
	if len(got) != len(x.journal) {
		t.Fatalf("journal %v, want %v", got, x.journal)
	}
	for k, v := range x.journal {
		if string(got[k]) != v {
			t.Fatalf("journal %s is %s, want %s", k, got[k], v)
		}
	}
}

func (m *queueModel) finish(t *rapid.T) {
	l, x := m.lease(t)
	delay := time.Duration(rapid.IntRange(0, 3).Draw(t, "delay")) * time.Second
	how := rapid.SampledFrom([]string{"done", "failed", "retry"}).Draw(t, "how")
	out := map[string]operation.Outcome{
		"done": {Report: report(runningReport)}, "failed": failedOutcome, "retry": {Retry: true, RetryAfter: delay},
	}[how]
	if !check(t, how, x, m.w.queue.Finish(m.w.t.Context(), l, out)) {
		return
	}
	switch how {
	case "done":
		x.status = holdfast.OperationCompleted
	case "failed":
		x.status = holdfast.OperationFailed
	default:
		x.status, x.due, x.runner = holdfast.OperationQueued, m.now()+delay, ""
		if delay > 0 {
			x.attempts++
		}
	}
}

// holds compares every operation with its model.
func (m *queueModel) holds(t *rapid.T) {
	for _, x := range m.ops {
		o := m.w.see(x.id)
		if o.Status != x.status || o.Epoch != x.epoch || o.Attempts != x.attempts {
			t.Fatalf("%+v, want %+v", o, x)
		}
		if held := o.Status == holdfast.OperationInProgress; held && o.Runner != x.runner || !held && o.Runner != "" {
			t.Fatalf("%s is held by %q, want %q", o.ID, o.Runner, x.runner)
		}
		if (o.Failure != nil) != (x.status == holdfast.OperationFailed) || (o.Result != nil) != (x.status == holdfast.OperationCompleted) {
			t.Fatalf("%v with %s and %+v", o.Status, o.Result, o.Failure)
		}
	}
}

func TestRandomSchedules(t *testing.T) {
	// A schedule is some 30 transactions; ask for more by -rapid.checks.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("20"); err != nil {
			t.Fatal(err)
		}
	}
	w := newQueueWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		m := &queueModel{w: w}
		t.Repeat(map[string]func(*rapid.T){
			"": m.holds, "add": m.add, "pass": m.pass, "jump": m.jump, "claim": m.claim,
			"renew": m.renew, "journal": m.journal, "entries": m.entries, "finish": m.finish,
		})
		// The next schedule begins with an empty queue.
		w.pass(time.Hour)
		for _, l, err := w.tryClaim(w.queue, "end"); err == nil; _, l, err = w.tryClaim(w.queue, "end") {
			if err := w.queue.Finish(w.t.Context(), l, failedOutcome); err != nil {
				t.Fatal(err)
			}
		}
	})
}
