package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/store"
)

// insertJobs writes jobs of an account, the oldest first, and gives their ids.
func (b *bench) insertJobs(n int, o holdfast.Operation) []string {
	b.t.Helper()
	var out []string
	for range n {
		o.ID, o.HostID, o.CreatedAt = holdfast.NewID[holdfast.JobID](), b.host, b.clock()
		b.tx(func(tx *store.Tx) error { return tx.InsertOperation(b.ctx(), o) })
		out = append(out, o.ID.String())
	}
	return out
}

// jobs reads all pages of a list.
func (b *bench) jobs(query, key string, between func()) (ids []string) {
	b.t.Helper()
	for cursor := ""; ; {
		a := b.call("GET", "/api/jobs?"+query+cursor, key, "").want(200, "")
		for _, j := range a.at("data").([]any) {
			ids = append(ids, j.(map[string]any)["jobId"].(string))
		}
		next, more := a.at("nextCursor").(string)
		if more != (a.at("hasMore") == true) {
			b.t.Errorf("%s", a.raw)
		}
		if !more {
			return ids
		}
		cursor = "&cursor=" + next
		between()
	}
}

// While jobs come, a list goes on where it was: none twice, none left out.
func TestListJobsWhileTheyCome(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	job := holdfast.Operation{Kind: holdfast.KindVPSStart, AccountID: b.account, VPSID: b.vps.ID}
	var want []string
	for range 3 { // some at the same instant
		want = append(want, b.insertJobs(4, job)...)
		b.pass(time.Second)
	}
	b.insertJobs(2, holdfast.Operation{Kind: holdfast.KindVPSStart, AccountID: b.other, VPSID: b.foreign.ID})
	got := b.jobs("limit=5", b.read, func() { b.insertJobs(3, job) })
	if len(got) != len(want) {
		t.Fatalf("%d jobs, want %d: %v", len(got), len(want), got)
	}
	seen := map[string]bool{}
	for i, id := range got {
		if seen[id] || i > 0 && i%4 != 0 && id > got[i-1] {
			t.Errorf("job %d of %v", i, got)
		}
		seen[id] = true
	}
	for _, id := range want {
		if !seen[id] {
			t.Errorf("%s is left out", id)
		}
	}
}

func TestListJobsFilters(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	bk := b.insertBackup(b.vps)
	restore := b.call("POST", b.backups()+"/"+bk.ID.String()+"/actions/restore-to-payg", b.billing, "").want(202, "")
	backup := b.call("POST", b.backups(), b.backup, "").want(202, "")
	b.call("POST", backup.text("operation.pollUrl")+"/actions/cancel", b.backup, "").want(202, "")
	b.insertJobs(1, holdfast.Operation{Kind: holdfast.KindCopy, AccountID: b.account, VPSID: b.vps.ID, BackupID: bk.ID, Place: "offsite"})
	b.insertJobs(1, holdfast.Operation{Kind: holdfast.KindGenerationDrop, AccountID: b.account, VPSID: b.vps.ID})
	theirs := b.insertJobs(1, holdfast.Operation{Kind: holdfast.KindBackup, AccountID: b.other, VPSID: b.foreign.ID})
	names := map[string]string{restore.text("operation.jobId"): "restore", backup.text("operation.jobId"): "backup", theirs[0]: "theirs"}
	vm := b.call("GET", restore.text("operation.pollUrl"), b.full, "").text("resource.id")
	own := strings.NewReplacer("VPS", b.vps.ID.String(), "BKP", bk.ID.String(), "VM", vm, "THEIRS", b.foreign.ID.String())
	for _, c := range []struct{ query, key, want string }{
		{"", b.read, "backup restore"},
		{"", b.full, "backup restore"},
		{"", b.backup, "backup"}, // no read:vm: those that it has started
		{"", b.billing, "restore"},
		{"", b.powerKey(), ""},
		{"", b.otherKey, "theirs"},
		{"resourceId=BKP", b.read, "restore"}, // a client that lost the answer finds its purchase
		{"resourceId=BKP", b.backup, ""},
		{"resourceId=VM", b.read, "restore"},
		{"resourceId=VPS", b.read, "backup"},
		{"resourceId=VPS&status=queued", b.read, ""},
		{"resourceId=THEIRS", b.read, ""},
		{"resourceId=VPS", b.otherKey, ""},
		{"resourceId=x%00'%20OR%201=1", b.read, ""},
		{"status=failed", b.read, "backup"},
		{"status=queued&type=restore_to_payg", b.read, "restore"},
		{"status=pending", b.read, ""},
		{"type=backup", b.read, "backup"},
		{"type=vps_delete", b.read, ""},
	} {
		var got []string
		for _, id := range b.jobs(own.Replace(c.query), c.key, func() {}) {
			got = append(got, names[id])
		}
		slices.Sort(got) // both may be of one instant
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %v, want %q", c.query, got, c.want)
		}
	}
	a := b.call("GET", "/api/jobs?type=backup", b.full, "").want(200, "")
	one := b.call("GET", backup.text("operation.pollUrl"), b.full, "").at("data").(map[string]any)
	if item := a.at("data").([]any)[0].(map[string]any); len(item) != len(one) || item["isCancelled"] != true || fmt.Sprint(item["links"]) != fmt.Sprint(one["links"]) {
		t.Errorf("listed as %v, read as %v", item, one)
	}
}

// Every type that a customer's job can have is one to ask for, and no other is.
func TestListJobsRefuses(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	b.call("GET", "/api/jobs", "", "").want(401, "unauthorized")
	b.call("GET", "/api/jobs", b.operator, "").want(403, "forbidden")
	for _, query := range []string{"limit=0", "limit=101", "limit=x", "status=done", "type=explode", "type=copy", "type=generation_drop"} {
		b.call("GET", "/api/jobs?"+query, b.read, "").want(400, "invalid_request")
	}
	b.insertJobs(3, holdfast.Operation{Kind: holdfast.KindVPSStart, AccountID: b.account, VPSID: b.vps.ID})
	b.insertVPS(b.account, "web-02")
	next := b.call("GET", "/api/jobs?limit=1", b.read, "").want(200, "").text("nextCursor")
	vps := b.call("GET", "/api/v2/vps?limit=1", b.read, "").want(200, "").text("nextCursor")
	for _, cursor := range []string{"x", next + "x", next[1:], vps, strings.Repeat("A", 5000)} {
		b.call("GET", "/api/jobs?cursor="+cursor, b.read, "").want(400, "invalid_cursor")
	}
	b.call("GET", "/api/jobs?cursor="+next, b.otherKey, "").want(400, "invalid_cursor")
	for _, kind := range []holdfast.Kind{
		holdfast.KindBackup, holdfast.KindBackupDelete, holdfast.KindRestoreToPayg, holdfast.KindRestoreInPlace, holdfast.KindRestoreUndo,
		holdfast.KindSnapshotCreate, holdfast.KindSnapshotRestore, holdfast.KindSnapshotDelete, holdfast.KindVPSCreate, holdfast.KindVPSStart,
		holdfast.KindVPSStop, holdfast.KindVPSRestart, holdfast.KindVPSReset, holdfast.KindVPSReshape, holdfast.KindVPSDelete,
	} {
		b.call("GET", "/api/jobs?type="+string(kind), b.read, "").want(200, "")
	}
}
