package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/operation"
	"holdfast/store"
)

// cancels asks for the end of a job. Whatever waits for the job was told whether
// that would be accepted: code is "" if it is to be.
func (b *bench) cancels(c asked, url, code string) answer {
	b.t.Helper()
	path := b.backups()
	if isPower(c.kind) {
		path = b.power("reset")
	}
	if c.kind != holdfast.KindRestoreToPayg { // that one is in nobody's way
		told := b.call("POST", path, b.full, "").want(409, "operation_in_progress")
		if told.text("extensions.pollUrl") != url || told.text("extensions.type") != string(c.kind) || told.at("extensions.cancellable") != (code == "") {
			b.t.Errorf("%s", told.raw)
		}
	}
	a := b.call("POST", url+"/actions/cancel", c.key(b), "")
	if code != "" {
		return a.want(409, code)
	}
	if a.want(202, "").at("operation.result") != nil || a.text("operation.pollUrl") != url {
		b.t.Errorf("%s", a.raw)
	}
	return a
}

// A job that no runner has begun ends with the call, whatever its host does.
func TestCancelQueuedJob(t *testing.T) {
	for _, c := range cancellable() {
		t.Run(string(c.kind), func(t *testing.T) {
			b := newBench(t, rate(100_000, 10_000))
			call := c.begin(b)
			begun := call().want(202, "")
			url := begun.text("operation.pollUrl")
			b.pass(time.Second)
			if a := b.cancels(c, url, ""); a.text("operation.status") != "failed" {
				t.Errorf("%s", a.raw)
			}
			// The answer may have been lost.
			if a := b.call("POST", url+"/actions/cancel", c.key(b), "{}").want(202, ""); a.text("operation.status") != "failed" {
				t.Errorf("%s", a.raw)
			}
			a := b.state(url, b.full)
			if flags(a) != "failed:isFailed+isCancelled" || a.text("error.code") != "cancelled" || a.at("startedAt") != nil ||
				a.at("finishedAt") == nil || a.text("progressDetails.message") != "Cancelled" {
				t.Errorf("%s", a.raw)
			}
			o, err := b.store.Operation(b.ctx(), holdfast.JobID(begun.text("operation.jobId")))
			b.ok(err)
			if c.left(b, o) {
				t.Error("something is left of it")
			}
			if active, err := b.store.ActiveOperations(b.ctx(), o.VPSID); err != nil || len(active) > 0 {
				t.Errorf("there is work left: %+v, %v", active, err)
			}
			call().want(202, "") // nothing is in its way
		})
	}
}

// A job that runs is asked to end, and does when its runner has cleared up. A
// power action that has begun is not: a guest may obey at any time.
func TestCancelRunningJob(t *testing.T) {
	for _, c := range cancellable() {
		t.Run(string(c.kind), func(t *testing.T) {
			b := newBench(t, rate(100_000, 10_000))
			url := c.begin(b)().want(202, "").text("operation.pollUrl")
			r := b.claim(c.kind)
			if isPower(c.kind) {
				b.cancels(c, url, "job_not_cancellable")
				if r.cancelled() {
					t.Error("its runner is told of a cancel that was refused")
				}
				return
			}
			if r.cancelled() {
				t.Error("cancelled before anyone asked")
			}
			for range 2 {
				if a := b.cancels(c, url, ""); a.text("operation.status") != "in_progress" {
					t.Errorf("%s", a.raw)
				}
			}
			if !r.cancelled() || flags(b.state(url, b.full)) != "in_progress:isRunning" {
				t.Error("its runner is not told, or it does not run")
			}
			r.fail(holdfast.Failure{Code: holdfast.CodeCancelled, Message: "Cancelled."})
			if a := b.state(url, b.full); flags(a) != "failed:isFailed+isCancelled" || c.left(b, r.op) {
				t.Errorf("%s", a.raw)
			}
			b.call("POST", url+"/actions/cancel", b.full, "").want(202, "")
		})
	}
}

// cancelled says whether the runner learns of a cancel.
func (r *runner) cancelled() bool {
	r.b.t.Helper()
	cancel, err := r.queue.Renew(r.b.ctx(), r.lease, time.Minute, holdfast.Progress{})
	r.b.ok(err)
	return cancel
}

// Past its commit point a job goes on, and one that has ended stays as it ended.
func TestCancelTooLate(t *testing.T) {
	for _, c := range cancellable() {
		t.Run(string(c.kind), func(t *testing.T) {
			b := newBench(t, rate(100_000, 10_000))
			url := c.begin(b)().want(202, "").text("operation.pollUrl")
			r := b.claim(c.kind)
			if c.commit != "" {
				b.ok(r.queue.Journal(b.ctx(), r.lease, "step/power", json.RawMessage(`{"epoch":1}`)))
				b.cancels(c, url, "") // accepted, and too late for the runner
				b.ok(r.queue.Journal(b.ctx(), r.lease, "step/"+c.commit, json.RawMessage(`{"epoch":1}`)))
				b.cancels(c, url, "job_not_cancellable")
			}
			r.fail(holdfast.Failure{Code: holdfast.CodeHostDiskFull, Message: "The host's disk is full."})
			before := b.state(url, b.full)
			b.call("POST", url+"/actions/cancel", c.key(b), "").want(409, "job_not_cancellable")
			if a := b.state(url, b.full); flags(a) != "failed:isFailed" || a.text("finishedAt") != before.text("finishedAt") {
				t.Errorf("%s", a.raw)
			}
		})
	}
}

// A job that waits for its next try may have left something: its runner clears up,
// and need not wait for that.
func TestCancelBetweenTries(t *testing.T) {
	b := newBench(t)
	url := b.call("POST", b.backups(), b.full, "").want(202, "").text("operation.pollUrl")
	r := b.claim(holdfast.KindBackup)
	b.ok(r.queue.Finish(b.ctx(), r.lease, operation.Outcome{Retry: true, RetryAfter: time.Hour}))
	if a := b.call("POST", url+"/actions/cancel", b.full, "").want(202, ""); a.text("operation.status") != "queued" {
		t.Errorf("%s", a.raw)
	}
	if r = b.claim(holdfast.KindBackup); !r.op.Cancel {
		t.Error("its runner is not told")
	}
}

// What the operator or the service has begun is not the customer's to cancel; what
// the customer's schedule has is.
func TestCancelWhatNoKeyStarted(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	stop, err := b.control.StopVPS(b.ctx(), control.StopVPSInput{VPS: b.vps.ID.String()})
	b.ok(err)
	b.call("POST", "/api/jobs/"+stop.JobID+"/actions/cancel", b.full, "").want(409, "job_not_cancellable")
	if a := b.call("POST", b.power("reset"), b.full, "").want(409, "operation_in_progress"); a.at("extensions.cancellable") != false {
		t.Errorf("%s", a.raw)
	}
	b.anew()
	gone, err := b.control.DeleteVPS(b.ctx(), control.VPSInput{VPS: b.vps.ID.String()})
	b.ok(err)
	b.call("POST", "/api/jobs/"+gone.JobID+"/actions/cancel", b.full, "").want(409, "job_not_cancellable")

	b.anew()
	shot := b.insertSnapshot(b.vps, "a", func(s *holdfast.Snapshot) { s.Status, s.Scheduled = holdfast.SnapshotPending, true })
	in, err := json.Marshal(holdfast.SnapshotInput{Snapshot: shot.ID, Name: shot.Name})
	b.ok(err)
	scheduled := holdfast.Operation{
		ID: holdfast.NewID[holdfast.JobID](), Kind: holdfast.KindSnapshotCreate, AccountID: b.account, VPSID: b.vps.ID, HostID: b.host,
		Lock: holdfast.LockData, Input: in,
	}
	b.tx(func(tx *store.Tx) error { return tx.InsertOperation(b.ctx(), scheduled) })
	b.call("POST", "/api/jobs/"+scheduled.ID.String()+"/actions/cancel", b.backup, "").want(202, "")

	// A deletion was done with the answer to its call.
	bk := b.insertBackup(b.vps)
	b.call("DELETE", b.backups()+"/"+bk.ID.String(), b.full, "").want(204, "")
	o, err := b.store.ActiveOperations(b.ctx(), b.vps.ID)
	if err != nil || len(o) != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	b.call("POST", "/api/jobs/"+o[0].ID.String()+"/actions/cancel", b.full, "").want(409, "job_not_cancellable")
}

// Who may not cancel learns nothing, and changes nothing: a key without the scopes,
// another customer, the operator's key, a client that sends anything.
func TestWhoMayCancelAJob(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	url := b.call("POST", b.backups(), b.full, "").want(202, "").text("operation.pollUrl")
	cancel := url + "/actions/cancel"
	unknown := "/api/jobs/" + holdfast.NewID[holdfast.JobID]().String() + "/actions/cancel"
	b.call("POST", cancel, "", "").want(401, "unauthorized")
	b.call("POST", cancel, b.operator, "").want(403, "forbidden")
	for _, path := range []string{cancel, unknown, "/api/jobs/x/actions/cancel"} {
		b.call("POST", path, b.read, "not json").want(403, "forbidden")
		b.call("POST", path, b.otherKey, "not json").want(404, "job_not_found")
	}
	b.call("POST", cancel, b.powerKey(), "not json").want(403, "forbidden")
	for _, path := range []string{unknown, "/api/jobs/x/actions/cancel"} {
		for _, key := range []string{b.powerKey(), b.backup, b.full} {
			b.call("POST", path, key, "not json").want(404, "job_not_found")
		}
	}
	b.call("POST", cancel, b.full, "not json").want(400, "invalid_request")
	if a := b.call("POST", cancel, b.full, `{"force":true}`).want(400, "invalid_request"); a.faults() != "/force:unknown_field" {
		t.Errorf("faults: %s", a.faults())
	}
	b.call("POST", cancel, b.full, "{}", header{"Content-Type": "text/plain"}).want(415, "unsupported_media_type")
	if a := b.state(url, b.full); flags(a) != "queued:isWaiting" {
		t.Fatalf("a refused request has changed the job: %s", a.raw)
	}
	path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	payg := b.call("POST", path, b.full, "").want(202, "").text("operation.pollUrl")
	b.call("POST", payg+"/actions/cancel", b.backup, "").want(403, "forbidden") // write:billing is needed to start one

	first := b.call("POST", cancel, b.backup, "", key("k")).want(202, "")
	again := b.call("POST", cancel, b.backup, "{}", key("k")).want(202, "")
	if first.text("operation.status") != "failed" || again.header.Get("Idempotency-Replayed") != "true" || string(first.raw) != string(again.raw) {
		t.Errorf("%s, then %s", first.raw, again.raw)
	}
	done := b.call("POST", b.backups(), b.full, "").want(202, "").text("operation.pollUrl")
	b.claim(holdfast.KindBackup).done(holdfast.BackupReport{PointAt: b.clock(), Incremental: holdfast.IncrementalFull, Consistency: holdfast.ConsistencyCrash})
	b.call("POST", done+"/actions/cancel", b.full, "").want(409, "job_not_cancellable")
	if a := b.state(done, b.full); flags(a) != "completed:isCompleted" {
		t.Errorf("%s", a.raw)
	}
}
