package api_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"holdfast/api"
	"holdfast/control"
)

// stampede has 64 clients ask at once, in turn at both processes.
func stampede(both []*bench, ask func(b *bench) answer) []answer {
	const clients = 64
	out := make([]answer, clients)
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i] = ask(both[i%len(both)]) })
	}
	wg.Wait()
	return out
}

// What a customer may do once is done once, whichever process hears of it.
func TestTwoProcessesKeepIdempotency(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	both := []*bench{b, b.beside(rate(100_000, 10_000))}
	path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	for round := range 3 {
		k := key(fmt.Sprint("once", round))
		answers := stampede(both, func(b *bench) answer { return b.call("POST", path, b.full, `{"cpuCores":1}`, k) })
		first := 0
		for _, a := range answers {
			a.want(202, "")
			if string(a.raw) != string(answers[0].raw) {
				t.Errorf("two answers: %s and %s", a.raw, answers[0].raw)
			}
			if a.header.Get("Idempotency-Replayed") != "true" {
				first++
			}
		}
		if first != 1 || b.operations() != round+1 {
			t.Errorf("%d were the first, %d operations", first, b.operations())
		}
	}
	// The same key with other bodies: one of them holds, the others are told.
	body := 0
	var mu sync.Mutex
	count := map[int]int{}
	for _, a := range stampede(both, func(b *bench) answer {
		mu.Lock()
		body++
		n := body
		mu.Unlock()
		return b.call("POST", path, b.full, fmt.Sprintf(`{"name":"vm-%d"}`, n), key("other-bodies"))
	}) {
		count[a.status]++
		if a.status != 202 {
			a.want(409, "idempotency_key_reused")
		}
	}
	if count[202] != 1 || b.operations() != 4 {
		t.Errorf("%v, %d operations", count, b.operations())
	}
}

// The limit of a key is that of all processes together.
func TestTwoProcessesShareALimit(t *testing.T) {
	const burst, each = 100, 4
	shared := func(o *api.Options, _ *control.Options) { o.Rate = api.Rate{PerMinute: 1, Burst: burst} }
	b := newBench(t, shared)
	both := []*bench{b, b.beside(shared)}
	for _, p := range both {
		p.limitShared(api.Rate{PerMinute: 1, Burst: burst})
	}
	begun := time.Now()
	var mu sync.Mutex
	count := map[int]int{}
	stampede(both, func(b *bench) (a answer) {
		for range each {
			a = b.call("GET", "/api/v2/vps", b.full, "")
			mu.Lock()
			count[a.status]++
			mu.Unlock()
		}
		return a
	})
	// What a slow machine has no time to use lapses: less than the burst is no fault.
	passed := int(time.Since(begun)/time.Second) + 1
	if count[200] < burst/4 || count[200] > burst+passed || count[200]+count[429] != 64*each {
		t.Errorf("%v of a burst of %d in %d seconds", count, burst, passed)
	}
	// Whom one refuses the other refuses too, and says when to come back.
	for _, p := range both {
		if a := p.call("GET", "/api/v2/vps", b.full, "").want(429, "rate_limited"); a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		p.call("GET", "/api/v2/vps", b.read, "").want(200, "")
		p.call("GET", "/healthz", "", "").want(200, "")
	}
}

// limitShared serves anew, with the limit of the database.
func (b *bench) limitShared(r api.Rate) {
	b.handler = api.New(b.control, api.Options{
		DocsBase: "https://docs.example.com", Clock: b.clock, Version: "test", Limiter: api.NewSharedLimiter(b.control, r, b.clock),
	})
}
