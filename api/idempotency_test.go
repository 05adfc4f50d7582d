package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

func key(k string) header { return header{"Idempotency-Key": k} }

func (b *bench) operations() int {
	b.t.Helper()
	ops, _, err := b.store.ListOperations(b.ctx(), b.account, store.OperationFilter{}, store.Page{Limit: 1000})
	b.ok(err)
	return len(ops)
}

func TestIdempotency(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	first := b.call("POST", b.backups(), b.full, `{"note":"x"}`, key("k1")).want(202, "")
	if first.header.Get("Idempotency-Replayed") != "" {
		t.Error("the first answer says it is replayed")
	}
	// Written differently it is still the same body; and it is the first answer,
	// whatever has happened since.
	b.service(holdfast.ServiceSuspended)
	for _, body := range []string{`{"note":"x"}`, `{ "note" : "\u0078" }`} {
		again := b.call("POST", b.backups(), b.full, body, key("k1")).want(202, "")
		if again.header.Get("Idempotency-Replayed") != "true" || string(again.raw) != string(first.raw) {
			t.Errorf("%v %s, not %s", again.header, again.raw, first.raw)
		}
	}
	for _, body := range []string{"", `{"note":"y"}`, `{"note":"x","z":1}`, "not json"} {
		b.call("POST", b.backups(), b.full, body, key("k1")).want(409, "idempotency_key_reused")
	}
	if n := b.operations(); n != 1 {
		t.Errorf("%d operations", n)
	}
	// Auth and scope come before.
	b.call("POST", b.backups(), "", `{"note":"x"}`, key("k1")).want(401, "")
	b.call("POST", b.backups(), b.read, `{"note":"x"}`, key("k1")).want(403, "")
	// The key is scoped to caller and path: these are other requests.
	b.service(holdfast.ServiceActive)
	b.call("POST", b.backups(), b.backup, `{"note":"x"}`, key("k1")).want(409, "operation_in_progress")
	second := b.insertVPS(b.account, "web-02")
	b.call("POST", "/api/v2/vps/"+second.ID.String()+"/backups", b.full, `{"note":"x"}`, key("k1")).want(202, "")
	b.call("POST", b.backups(), b.otherKey, `{"note":"x"}`, key("k1")).want(404, "vps_not_found")
}

func TestOnlySuccessIsKept(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	b.call("POST", b.backups(), b.full, `{"note":5}`, key("k")).want(400, "")
	b.service(holdfast.ServiceSuspended)
	b.call("POST", b.backups(), b.full, "", key("k")).want(409, "service_suspended")
	b.service(holdfast.ServiceActive)
	a := b.call("POST", b.backups(), b.full, "", key("k")).want(202, "")
	if a.header.Get("Idempotency-Replayed") != "" {
		t.Error("a refusal was kept")
	}
	// After a day the key is free again.
	b.pass(24*time.Hour - time.Second)
	b.call("POST", b.backups(), b.full, "", key("k")).want(202, "")
	b.pass(2 * time.Second)
	b.call("POST", b.backups(), b.full, `{"note":"new"}`, key("k")).want(409, "operation_in_progress")
}

func TestWrongIdempotencyKeys(t *testing.T) {
	b := newBench(t)
	for _, k := range []string{"", " ", "a b", "å", "x\ty", strings.Repeat("x", 256)} {
		b.call("POST", b.backups(), b.full, "", key(k)).want(400, "invalid_request")
	}
	b.call("POST", b.backups(), b.full, "", key(strings.Repeat("x", 255))).want(202, "")
}

// Sixteen at once: one takes effect, and all get its answer.
func TestConcurrentDuplicates(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	const n = 16
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = b.call("POST", path, b.full, `{"cpuCores":1}`, key("once")) })
	}
	wg.Wait()
	replayed := 0
	for _, a := range answers {
		a.want(202, "")
		if string(a.raw) != string(answers[0].raw) {
			t.Errorf("two answers: %s and %s", a.raw, answers[0].raw)
		}
		if a.header.Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	list := b.call("GET", "/api/v2/vps", b.full, "").at("data").([]any)
	if replayed != n-1 || b.operations() != 1 || len(list) != 2 {
		t.Errorf("%d replayed, %d operations, %d VPSs", replayed, b.operations(), len(list))
	}
}

// Without a key each request counts; the limits hold all the same.
func TestConcurrentPurchasesKeepTheLimit(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	b.setAccount(control.SetAccountInput{Limits: &control.LimitsPatch{Instances: ptr(3)}})
	path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	var wg sync.WaitGroup
	statuses := make([]int, 12)
	for i := range statuses {
		wg.Go(func() { statuses[i] = b.call("POST", path, b.full, "").status })
	}
	wg.Wait()
	count := map[int]int{}
	for _, s := range statuses {
		count[s]++
	}
	if count[202] != 3 || count[403] != 9 {
		t.Errorf("%v", count)
	}
}

// Backups of one VPS exclude one another however close they come.
func TestConcurrentBackups(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	var wg sync.WaitGroup
	answers := make([]answer, 12)
	for i := range answers {
		wg.Go(func() { answers[i] = b.call("POST", b.backups(), b.full, "", key(fmt.Sprint(i))) })
	}
	wg.Wait()
	started := 0
	for _, a := range answers {
		if a.status == 202 {
			started++
		} else {
			a.want(409, "operation_in_progress")
		}
	}
	if used := b.call("GET", b.backups(), b.full, "").at("quotaInfo.used"); started != 1 || used != 1.0 {
		t.Errorf("%d started, %v slots used", started, used)
	}
}
