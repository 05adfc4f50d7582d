package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast"
	"holdfast/operation"
	"holdfast/store"
)

func TestTwoRunnersNeverHoldOneOperation(t *testing.T) {
	w := newQueueWorld(t)
	const jobs, runners = 40, 4
	for range jobs {
		w.add(holdfast.Operation{Kind: holdfast.KindVPSStart})
	}
	var mu sync.Mutex
	claims := map[holdfast.JobID]int{}
	var all sync.WaitGroup
	for i := range runners {
		_, q := w.open() // each a process of its own
		all.Go(func() {
			for {
				o, _, err := w.tryClaim(q, fmt.Sprintf("runner-%d", i))
				if errors.Is(err, operation.ErrNone) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				claims[o.ID]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(claims) != jobs {
		t.Errorf("%d of %d were claimed", len(claims), jobs)
	}
	for id, n := range claims {
		if o := w.see(id); n != 1 || o.Epoch != 1 {
			t.Errorf("%s was claimed %d times, epoch %d", id, n, o.Epoch)
		}
	}
}

func TestOldestFirstAndOnlyItsOwn(t *testing.T) {
	w := newQueueWorld(t)
	first := w.add(holdfast.Operation{Kind: holdfast.KindVPSStart, CreatedAt: someTime.Add(-2 * time.Hour)})
	w.add(holdfast.Operation{Kind: holdfast.KindVPSStop, CreatedAt: someTime.Add(-3 * time.Hour)})
	w.add(holdfast.Operation{Kind: holdfast.KindVPSStart, CreatedAt: someTime.Add(-1 * time.Hour)})
	for _, req := range []operation.ClaimRequest{
		{Runner: "r", Host: holdfast.NewID[holdfast.HostID](), Kinds: allKinds, TTL: queueTTL},
		{Runner: "r", Host: "", Kinds: allKinds, TTL: queueTTL},
		{Runner: "r", Host: w.host, Kinds: []holdfast.Kind{holdfast.KindBackup}, TTL: queueTTL},
		{Runner: "r", Host: w.host, TTL: queueTTL},
	} {
		if o, err := w.queue.Claim(t.Context(), req); !errors.Is(err, operation.ErrNone) {
			t.Errorf("%+v claimed %+v, %v", req, o, err)
		}
	}
	o, err := w.queue.Claim(t.Context(), operation.ClaimRequest{Runner: "r", Host: w.host, Kinds: []holdfast.Kind{holdfast.KindVPSStart}, TTL: queueTTL})
	if err != nil || o.ID != first.ID || o.Epoch != 1 || o.Runner != "r" || o.StartedAt.IsZero() {
		t.Errorf("%+v, %v", o, err)
	}
	if h, err := w.store.Host(t.Context(), w.host); err != nil || !h.SeenAt.Equal(someTime) {
		t.Errorf("no sign of life: %+v, %v", h, err)
	}
}

// Whatever a runner that has lost its lease still writes is refused, and
// changes nothing.
func TestStaleEpochIsRefused(t *testing.T) {
	w := newQueueWorld(t)
	_, backup := w.backup()
	o, old := w.claim("old")
	w.pass(queueTTL + time.Microsecond)
	_, now := w.claim("new")
	if now.Epoch != 2 {
		t.Fatalf("epoch %d", now.Epoch)
	}
	ctx := t.Context()
	before := w.see(o.ID)
	for name, l := range map[string]operation.Lease{
		"old":                      old,
		"old epoch, new runner":    {Job: o.ID, Epoch: 1, Runner: "new"},
		"new epoch, old runner":    {Job: o.ID, Epoch: 2, Runner: "old"},
		"epoch to come":            {Job: o.ID, Epoch: 3, Runner: "new"},
		"another job":              {Job: holdfast.NewID[holdfast.JobID](), Epoch: 2, Runner: "new"},
		"a name that is no name":   {Job: o.ID, Epoch: 2, Runner: "new' OR '1'='1"},
		"the lease of nobody else": {},
	} {
		_, renew := w.queue.Renew(ctx, l, queueTTL, holdfast.Progress{Current: 1, Total: 2})
		_, entries := w.queue.Entries(ctx, l)
		for what, err := range map[string]error{
			"renew": renew, "entries": entries,
			"journal":   w.queue.Journal(ctx, l, "k", json.RawMessage(`1`)),
			"done":      w.queue.Finish(ctx, l, operation.Outcome{Report: report(goodBackup())}),
			"failed":    w.queue.Finish(ctx, l, operation.Outcome{Failure: &holdfast.Failure{Code: "x"}}),
			"retry":     w.queue.Finish(ctx, l, operation.Outcome{Retry: true, RetryAfter: time.Second}),
			"hand back": w.queue.Finish(ctx, l, operation.Outcome{Retry: true}),
		} {
			if !errors.Is(err, operation.ErrLeaseLost) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
	if after := w.see(o.ID); fmt.Sprint(after) != fmt.Sprint(before) || w.backupStatus(backup) != holdfast.BackupPending {
		t.Errorf("a stale runner changed\n%+v\nto\n%+v", before, after)
	}
	if m, err := w.queue.Entries(ctx, now); err != nil || len(m) != 0 {
		t.Errorf("a stale runner journalled %v, %v", m, err)
	}
	if err := w.queue.Finish(ctx, now, operation.Outcome{Report: report(goodBackup())}); err != nil {
		t.Fatal(err)
	}
	// An operation that has ended is held by nobody.
	if err := w.queue.Finish(ctx, now, operation.Outcome{Retry: true}); !errors.Is(err, operation.ErrLeaseLost) {
		t.Error(err)
	}
}

func TestTakeoverComesAfterOneTTL(t *testing.T) {
	w := newQueueWorld(t)
	o := w.add(holdfast.Operation{Kind: holdfast.KindVPSStart})
	_, l := w.claim("a")
	if err := w.queue.Journal(t.Context(), l, "step", json.RawMessage(`{"a": 1}`)); err != nil {
		t.Fatal(err)
	}
	w.pass(queueTTL / 2)
	if _, err := w.queue.Renew(t.Context(), l, queueTTL, holdfast.Progress{Current: 7, Total: 9, Message: "m"}); err != nil {
		t.Fatal(err)
	}
	w.pass(queueTTL)
	w.idle()
	w.pass(time.Microsecond)
	got, l2 := w.claim("b")
	if got.ID != o.ID || got.Epoch != 2 || got.Progress != (holdfast.Progress{Current: 7, Total: 9, Message: "m"}) || got.Attempts != 0 {
		t.Errorf("%+v", got)
	}
	if m, err := w.queue.Entries(t.Context(), l2); err != nil || string(m["step"]) != `{"a": 1}` {
		t.Errorf("the successor reads %s, %v", m, err)
	}
}

func TestAWallClockJumpExpiresNothing(t *testing.T) {
	w := newQueueWorld(t)
	w.add(holdfast.Operation{Kind: holdfast.KindVPSStart})
	_, l := w.claim("a")
	for _, jump := range []int64{86400, -86400, 0} {
		w.wall.Store(jump)
		w.idle()
		if _, err := w.queue.Renew(t.Context(), l, queueTTL, holdfast.Progress{}); err != nil {
			t.Errorf("after a jump of %d s: %v", jump, err)
		}
		w.pass(queueTTL / 2)
	}
	// The clock is set back while the service is down: the lease still ends
	// within its time, and so does a delay.
	w.wall.Store(-86400)
	w.steady.Store(0)
	_, q := w.open()
	if _, _, err := w.tryClaim(q, "b"); !errors.Is(err, operation.ErrNone) {
		t.Errorf("claimed a live lease: %v", err)
	}
	w.pass(queueTTL + time.Microsecond)
	o, _, err := w.tryClaim(q, "b")
	if err != nil || o.Epoch != 2 {
		t.Errorf("%+v %v", o, err)
	}
}

func TestRetriesAndHandBacks(t *testing.T) {
	w := newQueueWorld(t)
	o := w.add(holdfast.Operation{Kind: holdfast.KindVPSStart})
	if got := w.run(operation.Outcome{Retry: true, RetryAfter: time.Minute}); got.Status != holdfast.OperationQueued || got.Attempts != 1 {
		t.Errorf("%+v", got)
	}
	w.idle()
	w.pass(time.Minute)
	if got := w.run(operation.Outcome{Retry: true}); got.Status != holdfast.OperationQueued || got.Attempts != 1 {
		t.Errorf("%+v", got)
	}
	// Given back, it is there at once.
	if got, _ := w.claim("c"); got.ID != o.ID || got.Epoch != 3 {
		t.Errorf("%+v", got)
	}
}

func TestCancelIsSeenWithTheNextRenewal(t *testing.T) {
	w := newQueueWorld(t)
	o := w.add(holdfast.Operation{Kind: holdfast.KindVPSStart})
	_, l := w.claim("a")
	if cancel, err := w.queue.Renew(t.Context(), l, queueTTL, holdfast.Progress{}); cancel || err != nil {
		t.Fatal(cancel, err)
	}
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.RequestCancel(ctx, o.ID) })
	if cancel, err := w.queue.Renew(t.Context(), l, queueTTL, holdfast.Progress{}); !cancel || err != nil {
		t.Fatal(cancel, err)
	}
}

// A host in wrong hands reaches no other host's work, and cannot fill or crash
// the service with what it sends.
func TestHostileHost(t *testing.T) {
	w := newQueueWorld(t)
	w.add(holdfast.Operation{Kind: holdfast.KindVPSStart})
	_, l := w.claim("a")
	ctx, other := t.Context(), w.queue.For(holdfast.NewID[holdfast.HostID]())
	_, renew := other.Renew(ctx, l, queueTTL, holdfast.Progress{})
	_, entries := other.Entries(ctx, l)
	for what, err := range map[string]error{
		"renew": renew, "entries": entries, "journal": other.Journal(ctx, l, "k", json.RawMessage(`1`)),
		"finish": other.Finish(ctx, l, operation.Outcome{Report: report(holdfast.MachineReport{Power: holdfast.PowerRunning})}),
		"retry":  other.Finish(ctx, l, operation.Outcome{Retry: true}),
	} {
		if !errors.Is(err, operation.ErrLeaseLost) {
			t.Errorf("another host: %s: %v", what, err)
		}
	}
	if _, _, err := w.tryClaim(other, "x"); holdfast.CodeOf(err) != holdfast.CodeForbidden {
		t.Errorf("another host claims: %v", err)
	}
	for _, req := range []operation.ClaimRequest{
		{Host: w.host, Kinds: allKinds, TTL: queueTTL}, {Runner: strings.Repeat("x", 200), Host: w.host, Kinds: allKinds, TTL: queueTTL},
		{Runner: "r", Host: w.host, Kinds: allKinds, TTL: 24 * time.Hour}, {Runner: "r", Host: w.host, Kinds: allKinds, TTL: -1},
	} {
		if _, err := w.queue.Claim(ctx, req); holdfast.CodeOf(err) != holdfast.CodeInvalidRequest {
			t.Errorf("%+v: %v", req, err)
		}
	}
	if _, err := w.queue.Renew(ctx, l, 24*time.Hour, holdfast.Progress{}); holdfast.CodeOf(err) != holdfast.CodeInvalidRequest {
		t.Errorf("a lease of a day: %v", err)
	}
	mine := w.queue.For(w.host)
	if _, err := mine.Renew(ctx, l, queueTTL, holdfast.Progress{Current: -5, Total: -9, Message: strings.Repeat("å\x00", 1<<20)}); err != nil {
		t.Fatal(err)
	}
	if p := w.see(l.Job).Progress; p.Current != 0 || p.Total != 0 || len(p.Message) > 4*500 {
		t.Errorf("progress %d of %d, %d bytes", p.Current, p.Total, len(p.Message))
	}
	for _, bad := range []json.RawMessage{nil, json.RawMessage(`{`), report(strings.Repeat("x", 2<<20))} {
		if err := mine.Journal(ctx, l, "k", bad); err == nil || errors.Is(err, operation.ErrLeaseLost) {
			t.Errorf("journalled %d bytes: %v", len(bad), err)
		}
	}
	huge := operation.Outcome{Failure: &holdfast.Failure{
		Code: holdfast.Code(strings.Repeat("x", 1<<16)), Message: strings.Repeat("y", 1<<20), Extensions: map[string]any{"z": strings.Repeat("z", 1<<20)},
	}}
	if err := mine.Finish(ctx, l, huge); err != nil {
		t.Fatal(err)
	}
	if f := w.see(l.Job).Failure; len(f.Code) != 64 || len(f.Message) != 1000 || f.Extensions != nil {
		t.Errorf("%d %d %d", len(f.Code), len(f.Message), len(f.Extensions))
	}
}

func TestOldAnswersAreForgotten(t *testing.T) {
	w := newQueueWorld(t)
	key := func(i int) store.IdempotencyKey {
		return store.IdempotencyKey{Account: w.account, Caller: "key", Method: "POST", Path: "/", Key: strconv.Itoa(i)}
	}
	const old = 1200 // more than are forgotten at once
	w.write(func(ctx context.Context, tx *store.Tx) error {
		var err error
		for i := range old {
			_, _, e := tx.BeginIdempotent(ctx, key(i), "f", "o")
			err = errors.Join(err, e)
		}
		return err
	})
	w.wall.Store(24*3600 + 1)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.BeginIdempotent(ctx, key(old), "f", "o")
		return err
	})
	if err := w.queue.MaintainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range old + 1 {
		_, err := w.store.IdempotentRequest(t.Context(), key(i))
		if kept := err == nil; kept != (i == old) {
			t.Fatalf("key %d: %v", i, err)
		}
	}
}

func TestARunnerIsWokenByWhatIsQueued(t *testing.T) {
	w := newQueueWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	called := make(chan holdfast.JobID)
	runner := operation.NewRunner(w.queue, operation.Config{Name: "r", Host: w.host, Poll: time.Hour}, map[holdfast.Kind]operation.Handler{
		holdfast.KindVPSStart: func(_ context.Context, run *operation.Run) (any, error) {
			called <- run.Operation.ID
			return holdfast.MachineReport{Power: holdfast.PowerRunning}, nil
		},
	})
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	var last holdfast.JobID
	for range 3 {
		last = w.add(holdfast.Operation{Kind: holdfast.KindVPSStart}).ID
		select {
		case got := <-called:
			if got != last {
				t.Errorf("%s, want %s", got, last)
			}
		case <-time.After(30 * time.Second): // the next poll is an hour away
			t.Fatal("the runner was not woken")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if o := w.see(last); o.Status != holdfast.OperationCompleted {
		t.Errorf("%+v", o)
	}
}
