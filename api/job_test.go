package api_test

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/operation"
)

// runner does by hand what a runner does, through the queue's door.
type runner struct {
	b     *bench
	queue *control.Queue
	lease operation.Lease
	op    holdfast.Operation
}

func (b *bench) claim(kind holdfast.Kind) *runner {
	b.t.Helper()
	q := control.NewQueue(b.store, slog.New(slog.DiscardHandler))
	o, err := q.Claim(b.ctx(), operation.ClaimRequest{Runner: "test", Host: b.host, Kinds: []holdfast.Kind{kind}, TTL: time.Minute})
	b.ok(err)
	return &runner{b, q, operation.Lease{Job: o.ID, Epoch: o.Epoch, Runner: "test"}, o}
}

func (r *runner) progress(current, total int64, message string) {
	_, err := r.queue.Renew(r.b.ctx(), r.lease, time.Minute, holdfast.Progress{Current: current, Total: total, Message: message})
	r.b.ok(err)
}

func (r *runner) done(report any) {
	raw, err := json.Marshal(report)
	r.b.ok(err)
	r.b.ok(r.queue.Finish(r.b.ctx(), r.lease, operation.Outcome{Report: raw}))
}

func (r *runner) fail(f holdfast.Failure) {
	r.b.ok(r.queue.Finish(r.b.ctx(), r.lease, operation.Outcome{Failure: &f}))
}

// state is what both styles of clients look at, checked to be the same.
func (b *bench) state(url, key string) answer {
	b.t.Helper()
	a := b.call("GET", url, key, "").want(200, "")
	data := a.at("data").(map[string]any)
	for name, v := range data {
		if !reflect.DeepEqual(a.body[name], v) {
			b.t.Errorf("%s differs: %v at the top, %v under data", name, a.body[name], v)
		}
	}
	if len(a.body) != len(data)+4 || a.at("success") != true || a.at("requestId") != a.header.Get("X-Request-Id") {
		b.t.Errorf("the wrapper: %s", a.raw)
	}
	return a
}

func flags(a answer) string {
	var out []string
	for _, f := range []string{"isWaiting", "isRunning", "isCompleted", "isFailed", "isCancelled"} {
		if a.at(f) == true {
			out = append(out, f)
		}
	}
	return a.text("status") + ":" + strings.Join(out, "+")
}

func TestBackupJob(t *testing.T) {
	b := newBench(t)
	url := b.call("POST", b.backups(), b.full, `{"note":"Before upgrade"}`).want(202, "").text("operation.pollUrl")
	a := b.state(url, b.full)
	if flags(a) != "queued:isWaiting" || a.at("startedAt") != nil || a.at("finishedAt") != nil || a.at("error") != nil || a.at("result") != nil || a.text("type") != "backup" {
		t.Errorf("%s", a.raw)
	}
	r := b.claim(holdfast.KindBackup)
	r.progress(25, 100, "Reading disk0")
	a = b.state(url, b.full)
	if flags(a) != "in_progress:isRunning" || a.at("progress") != 25.0 || a.at("progressDetails.percentage") != 25.0 || a.at("progressDetails.current") != 25.0 ||
		a.at("progressDetails.total") != 100.0 || a.text("progressDetails.message") != "Reading disk0" || a.at("startedAt") == nil {
		t.Errorf("%s", a.raw)
	}
	point := b.clock().Add(-time.Minute)
	r.done(holdfast.BackupReport{PointAt: point, Point: "p.1", SizeBytes: 80 * holdfast.GiB, ChangedBytes: 10, TransferredBytes: 5,
		Incremental: holdfast.IncrementalFull, Consistency: holdfast.ConsistencyCrash})
	a = b.state(url, b.full)
	if flags(a) != "completed:isCompleted" || a.at("progress") != 100.0 || a.at("finishedAt") == nil {
		t.Errorf("%s", a.raw)
	}
	result := a.at("result").(map[string]any)
	for _, f := range []string{"backupId", "sizeGb", "transferredBytes", "changedBytes", "durationSeconds", "incremental", "consistency"} {
		if _, ok := result[f]; !ok {
			t.Errorf("no %s in %v", f, result)
		}
	}
	bk := b.call("GET", b.backups(), b.read, "").at("backups").([]any)[0].(map[string]any)
	created := point.UTC().Format("2006-01-02T15:04:05.000Z")
	if bk["id"] != result["backupId"] || bk["id"] != a.text("resource.id") || bk["status"] != "completed" || bk["createdAt"] != created ||
		bk["note"] != "Before upgrade" || bk["sizeGb"] != 80.0 || bk["backupType"] != "manual" || bk["displayId"] != created+" ("+bk["storageKey"].(string)+")" {
		t.Errorf("%v", bk)
	}
	// The next one builds on it.
	b.call("POST", b.backups(), b.full, "").want(202, "")
	var in holdfast.BackupInput
	b.ok(json.Unmarshal(b.claim(holdfast.KindBackup).op.Input, &in))
	if len(in.Parents) != 1 || in.Parents[0].ID.String() != bk["id"] || in.Parents[0].Point != "p.1" || in.Earlier != in.Parents[0].ID || len(in.Disks) != 2 || in.Generation != 1 {
		t.Errorf("%+v", in)
	}
}

func TestFailedJobs(t *testing.T) {
	for code, status := range map[holdfast.Code]float64{
		holdfast.CodeSiteFull: 507, holdfast.CodeHostDiskFull: 507, holdfast.CodeScratchExhausted: 507, holdfast.CodeVPSStateChanged: 409,
		holdfast.CodeInternal: 500, "something_newer": 500,
	} {
		b := newBench(t)
		url := b.call("POST", b.backups(), b.full, "").want(202, "").text("operation.pollUrl")
		b.claim(holdfast.KindBackup).fail(holdfast.Failure{Code: code, Message: "The place of the backups is full."})
		a := b.state(url, b.full)
		if flags(a) != "failed:isFailed" || a.at("result") != nil || a.at("error.status") != status || a.text("error.type") == "" || a.at("error.requestId") != a.header.Get("X-Request-Id") {
			t.Errorf("%s: %s", code, a.raw)
		}
		if used := b.call("GET", b.backups(), b.full, "").at("quotaInfo.used"); used != 0.0 {
			t.Errorf("%s: the slot is still taken: %v", code, used)
		}
	}
	b := newBench(t)
	url := b.call("POST", b.backups(), b.full, "").want(202, "").text("operation.pollUrl")
	b.claim(holdfast.KindBackup).fail(holdfast.Failure{Code: holdfast.CodeCancelled, Message: "Cancelled."})
	if a := b.state(url, b.full); flags(a) != "failed:isFailed+isCancelled" || a.text("error.code") != "cancelled" {
		t.Errorf("%s", a.raw)
	}
}

func TestRestoreJob(t *testing.T) {
	b := newBench(t)
	path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	url := b.call("POST", path, b.full, `{"name":"web-02"}`).want(202, "").text("operation.pollUrl")
	b.claim(holdfast.KindRestoreToPayg).done(holdfast.RestoreReport{BytesWritten: 7, MachineReport: holdfast.MachineReport{
		Power: holdfast.PowerRunning, Ports: []holdfast.ForwardedPort{{Address: "127.0.0.1", HostPort: 41080, GuestPort: 80}}}})
	a := b.state(url, b.full)
	for _, f := range []string{"vpsId", "name", "region", "primaryIp", "bytesWritten", "durationSeconds", "diskGrowth"} {
		a.at("result." + f)
	}
	v := b.call("GET", "/api/v2/vps/"+a.text("result.vpsId"), b.read, "").want(200, "")
	if v.text("powerState") != "running" || v.text("name") != "web-02" || v.at("billing.isPayg") != true || len(v.at("forwardedPorts").([]any)) != 1 {
		t.Errorf("%s", v.raw)
	}

	// One that fails leaves no VM and no bill.
	url = b.call("POST", path, b.full, "").want(202, "").text("operation.pollUrl")
	r := b.claim(holdfast.KindRestoreToPayg)
	r.fail(holdfast.Failure{Code: holdfast.CodeHostDiskFull, Message: "The host's disk is full."})
	b.call("GET", "/api/v2/vps/"+r.op.VPSID.String(), b.full, "").want(404, "vps_not_found")
	if a := b.state(url, b.full); flags(a) != "failed:isFailed" {
		t.Errorf("%s", a.raw)
	}
	used, err := b.store.UsedCloud(b.ctx(), b.account)
	b.ok(err)
	if used.Instances != 1 {
		t.Errorf("%+v", used)
	}
}

func TestWhoMayReadAJob(t *testing.T) {
	b := newBench(t)
	job := b.call("POST", b.backups(), b.backup, "").want(202, "").text("operation.pollUrl")
	b.state(job, b.backup) // it started it
	b.state(job, b.read)
	b.state(job, b.full)
	b.call("GET", job, b.billing, "").want(403, "forbidden") // another key without read:vm
	b.call("GET", job, b.otherKey, "").want(404, "job_not_found")
	b.call("GET", job, b.operator, "").want(403, "forbidden")
	b.call("GET", job, "", "").want(401, "unauthorized")
	// Who may read none learns nothing of which exist.
	b.call("GET", "/api/jobs/"+holdfast.NewID[holdfast.JobID]().String(), b.billing, "").want(403, "forbidden")
	b.call("GET", "/api/jobs/x", b.billing, "").want(403, "forbidden")
	b.call("GET", "/api/jobs/"+holdfast.NewID[holdfast.JobID]().String(), b.read, "").want(404, "job_not_found")

	// What the operator started belongs to nobody's key, not even to "no key".
	started, err := b.control.StopVPS(b.ctx(), control.StopVPSInput{VPS: b.vps.ID.String()})
	b.ok(err)
	a := b.state("/api/jobs/"+started.JobID, b.read)
	if a.text("type") != "vps_stop" || a.text("resource.type") != "vps" {
		t.Errorf("%s", a.raw)
	}
	b.call("GET", "/api/jobs/"+started.JobID, b.backup, "").want(403, "forbidden")
}
