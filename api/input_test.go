package api_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/store"
)

func TestWrongBodies(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	restore := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	for _, c := range []struct{ path, body, code, faults string }{
		{b.backups(), `{"note":5}`, "invalid_request", "/note:invalid_value"},
		{b.backups(), `{"Note":"x"}`, "invalid_request", "/Note:unknown_field"},
		{b.backups(), `{"note":"x","note":"y"}`, "invalid_request", "/note:invalid_value"},
		{b.backups(), `{"note":"` + strings.Repeat("å", 501) + `"}`, "invalid_request", "/note:invalid_value"},
		{b.backups(), `{"note":"a\u0000b"}`, "invalid_request", "/note:invalid_value"},
		{b.backups(), `{"mode":"suspend"}`, "invalid_request", "/mode:unknown_field"},
		{b.backups(), `{"suspend":true,"stop":true,"note":[]}`, "invalid_request", "/suspend:unknown_field /stop:unknown_field /note:invalid_value"},
		{b.backups(), `[]`, "invalid_request", ":invalid_value"},
		{b.backups(), `null`, "invalid_request", ":invalid_value"},
		{b.backups(), `{"note":"x"`, "invalid_request", ":invalid_value"},
		{b.backups(), `{} {}`, "invalid_request", ":invalid_value"},
		{b.backups(), "\xff", "invalid_request", ":invalid_value"},
		{restore, `{"name":"ab"}`, "invalid_request", "/name:invalid_value"},
		{restore, `{"name":"-abc"}`, "invalid_request", "/name:invalid_value"},
		{restore, `{"name":"a b.c"}`, "invalid_request", "/name:invalid_value"},
		{restore, `{"name":""}`, "invalid_request", "/name:invalid_value"},
		{restore, `{"name":"` + strings.Repeat("a", 64) + `"}`, "invalid_request", "/name:invalid_value"},
		{restore, `{"region":"atlantis"}`, "region_unknown", "/region:region_unknown"},
		{restore, `{"region":""}`, "region_unknown", "/region:region_unknown"},
		{restore, `{"cpuCores":0}`, "invalid_request", "/cpuCores:invalid_value"},
		{restore, `{"cpuCores":33}`, "invalid_request", "/cpuCores:invalid_value"},
		{restore, `{"cpuCores":"2"}`, "invalid_request", "/cpuCores:invalid_value"},
		{restore, `{"cpuCores":1.5}`, "invalid_request", "/cpuCores:invalid_value"},
		{restore, `{"cpuCores":1e99}`, "invalid_request", "/cpuCores:invalid_value"},
		{restore, `{"memoryGb":0,"memoryGB":1}`, "invalid_request", "/memoryGB:unknown_field /memoryGb:invalid_value"},
		{restore, `{"memoryGb":257}`, "invalid_request", "/memoryGb:invalid_value"},
		{restore, `{"storageGb":49}`, "storage_too_small", "/storageGb:storage_too_small"},
		{restore, `{"storageGb":2001}`, "invalid_request", "/storageGb:invalid_value"},
		{restore, `{"storageGb":-1}`, "invalid_request", "/storageGb:invalid_value"},
		{restore, `{"storageGb":79}`, "storage_too_small", "/storageGb:storage_too_small"},
		{restore, `{"dryRun":true}`, "invalid_request", "/dryRun:unknown_field"},
		{restore, `{"mode":"instant","planToken":"x","maxHourlyAmount":1}`, "invalid_request", "/mode:unknown_field /planToken:unknown_field /maxHourlyAmount:unknown_field"},
		{restore, `{"name":"-","region":"atlantis","cpuCores":0,"memoryGb":"4","storageGb":60,"x":1}`, "invalid_request",
			"/memoryGb:invalid_value /x:unknown_field /name:invalid_value /region:region_unknown /cpuCores:invalid_value /storageGb:storage_too_small"},
	} {
		a := b.call("POST", c.path, b.full, c.body)
		if a.status != 400 || a.code() != c.code || a.faults() != c.faults {
			t.Errorf("%s: %d %s %q", c.body, a.status, a.code(), a.faults())
		}
	}
	if got := b.call("GET", b.backups(), b.full, "").at("quotaInfo.used"); got != 1.0 {
		t.Errorf("a refused request took a slot: %v used", got)
	}
}

func TestBodiesThatMeanNothing(t *testing.T) {
	for _, body := range []string{"", " \n", "{}", `{"note":null}`, "{\r\n}"} {
		b := newBench(t)
		b.call("POST", b.backups(), b.full, body).want(202, "")
		if got := b.call("GET", b.backups(), b.full, "").at("backups").([]any)[0].(map[string]any)["note"]; got != nil {
			t.Errorf("%q: note %v", body, got)
		}
	}
	b := newBench(t)
	path := b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/restore-to-payg"
	b.call("POST", path, b.full, `{"name":null,"region":null,"cpuCores":null,"memoryGb":null,"storageGb":null}`).want(202, "")
}

func TestMediaTypes(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	b.setSlots(-1)
	for contentType, ok := range map[string]bool{
		"": true, "application/json": true, "application/json; charset=utf-8": true, "Application/JSON": true, "application/json; charset=UTF-8": true,
		"text/plain": false, "application/x-www-form-urlencoded": false, "multipart/form-data; boundary=x": false, "application/xml": false,
		"application/json; charset=latin1": false, "application/cbor": false, "application/problem+json": false, "json": false, ";": false,
	} {
		r := httptest.NewRequestWithContext(b.ctx(), "POST", b.backups(), strings.NewReader(`{"note":"x"}`))
		r.Header.Set("Authorization", "Bearer "+b.full)
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		a := b.send(r)
		if ok && a.status != 202 && a.code() != "operation_in_progress" {
			t.Errorf("%q: %d %s", contentType, a.status, a.raw)
		}
		if !ok && (a.status != 415 || a.code() != "unsupported_media_type") {
			t.Errorf("%q: %d %s", contentType, a.status, a.raw)
		}
	}
}

func (b *bench) setSlots(n int) {
	a, err := b.store.Account(b.ctx(), b.account)
	b.ok(err)
	a.BackupSlots = n
	b.tx(func(tx *store.Tx) error { return tx.UpdateAccount(b.ctx(), a) })
}

func TestLargeBody(t *testing.T) {
	b := newBench(t)
	b.call("POST", b.backups(), b.full, `{"note":"`+strings.Repeat("x", 1<<20)+`"}`).want(413, "body_too_large")
	b.call("POST", b.backups(), b.full, strings.Repeat(" ", 1<<20-2)+"{}").want(202, "")
	b.call("POST", b.backups(), "", strings.Repeat(" ", 2<<20)).want(401, "")
	b.call("POST", b.backups(), b.read, strings.Repeat(" ", 2<<20)).want(403, "")
	b.call("POST", "/api/v2/vps/x/backups", b.full, strings.Repeat(" ", 2<<20)).want(404, "")
}

func TestListVPS(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	for i := range 5 {
		b.insertVPS(b.account, fmt.Sprintf("n%d", i))
	}
	var seen []string
	cursor := ""
	for range 10 {
		a := b.call("GET", "/api/v2/vps?limit=2&cursor="+cursor, b.read, "").want(200, "")
		for _, v := range a.at("data").([]any) {
			seen = append(seen, v.(map[string]any)["name"].(string))
		}
		next := a.at("nextCursor")
		if (next == nil) == (a.at("hasMore") == true) {
			t.Errorf("hasMore %v, nextCursor %v", a.at("hasMore"), next)
		}
		if next == nil {
			break
		}
		cursor = next.(string)
		b.call("GET", "/api/v2/vps?cursor="+cursor, b.otherKey, "").want(400, "invalid_cursor")
	}
	if got := strings.Join(seen, " "); got != "n4 n3 n2 n1 n0 web-01" {
		t.Errorf("pages: %s", got)
	}
	for query, want := range map[string]int{"name=N3": 1, "name=n": 0, "name=theirs": 0, "primaryIp=192.0.2.1": 0, "include=pendingMaintenance": 6, "limit=100": 6, "unknown=1": 6} {
		a := b.call("GET", "/api/v2/vps?"+query, b.read, "").want(200, "")
		if got := len(a.at("data").([]any)); got != want {
			t.Errorf("%s: %d", query, got)
		}
		if strings.Contains(query, "include") != strings.Contains(string(a.raw), "pendingMaintenance") {
			t.Errorf("%s: %s", query, a.raw)
		}
	}
	for _, c := range []struct{ query, code, faults string }{
		{"limit=0", "invalid_request", "/limit:invalid_value"},
		{"limit=101", "invalid_request", "/limit:invalid_value"},
		{"limit=-1", "invalid_request", "/limit:invalid_value"},
		{"limit=x", "invalid_request", "/limit:invalid_value"},
		{"limit=x&include=all", "invalid_request", "/limit:invalid_value /include:invalid_value"},
		{"cursor=x", "invalid_cursor", ""},
		{"cursor=" + strings.Repeat("A", 400), "invalid_cursor", ""},
		{"cursor=" + strings.ToLower(cursor), "invalid_cursor", ""},
		{"cursor=%00", "invalid_cursor", ""},
	} {
		a := b.call("GET", "/api/v2/vps?"+c.query, b.read, "")
		if a.status != 400 || a.code() != c.code || a.faults() != c.faults {
			t.Errorf("%s: %d %s %q", c.query, a.status, a.code(), a.faults())
		}
	}
}

func TestTerminatedVPSIsListedWhileItHasBackups(t *testing.T) {
	b := newBench(t)
	b.service(holdfast.ServiceTerminated)
	if n := len(b.call("GET", "/api/v2/vps", b.read, "").at("data").([]any)); n != 0 {
		t.Errorf("%d listed without a backup", n)
	}
	b.insertBackup(b.vps)
	list := b.call("GET", "/api/v2/vps", b.read, "").at("data").([]any)
	if len(list) != 1 || list[0].(map[string]any)["powerState"] != nil || list[0].(map[string]any)["serviceStatus"] != "terminated" {
		t.Errorf("%v", list)
	}
}

// What is chosen when nothing is asked for, and when everything is.
func TestRestoreChoices(t *testing.T) {
	b := newBench(t)
	bk := b.insertBackup(b.vps)
	path := b.backups() + "/" + bk.ID.String() + "/actions/restore-to-payg"
	_, err := b.store.Region(b.ctx(), "stockholm")
	b.ok(err)
	for _, c := range []struct {
		body                   string
		cores, memory, storage int
		name                   string
		disk0, disk1           int64
	}{
		{"", 2, 4, 80, "", 70 * holdfast.GiB, 10 * holdfast.GiB},
		{`{"name":"web-02","region":"stockholm","cpuCores":1,"memoryGb":3,"storageGb":100}`, 1, 3, 100, "web-02", 90 * holdfast.GiB, 10 * holdfast.GiB},
	} {
		job := b.call("POST", path, b.billing, c.body).want(202, "").text("operation.jobId")
		o, err := b.store.Operation(b.ctx(), holdfast.JobID(job))
		b.ok(err)
		v, err := b.store.VPS(b.ctx(), o.VPSID)
		b.ok(err)
		var in holdfast.RestoreInput
		b.ok(json.Unmarshal(o.Input, &in))
		if v.CPUCores != c.cores || v.MemoryGb() != c.memory || v.StorageGb() != c.storage || (c.name != "" && v.Name != c.name) ||
			v.Disks[0].SizeBytes != c.disk0 || v.Disks[1].SizeBytes != c.disk1 {
			t.Errorf("%s: %+v", c.body, v)
		}
		if holdfast.CheckName(v.Name) != nil || !v.Billing.IsPayg || v.Power != holdfast.PowerProvisioning || v.RestoredFrom != bk.ID ||
			v.MAC == b.vps.MAC || !strings.HasPrefix(v.MAC, "52:54:00:") || v.ID == b.vps.ID || v.OS == nil {
			t.Errorf("%+v", v)
		}
		if o.Kind != holdfast.KindRestoreToPayg || o.BackupID != bk.ID || o.HostID != b.host || o.Lock != holdfast.LockData {
			t.Errorf("%+v", o)
		}
		if in.Source != b.vps.ID || in.Total != 80*holdfast.GiB || in.Machine.MAC != v.MAC || fmt.Sprint(in.Machine.Forward) != "[80]" || !in.Machine.Start || in.Machine.Boot != bk.Boot {
			t.Errorf("%+v", in)
		}
		// The new VM is there from the start, and named by the job.
		j := b.call("GET", "/api/jobs/"+job, b.billing, "").want(200, "")
		if j.text("resource.type") != "vps" || j.text("resource.id") != v.ID.String() {
			t.Errorf("%s", j.raw)
		}
		b.call("GET", "/api/v2/vps/"+v.ID.String(), b.read, "").want(200, "")
		b.call("POST", "/api/v2/vps/"+v.ID.String()+"/backups", b.full, "").want(409, "vps_not_ready")
	}
}

func TestUnrestorableBackups(t *testing.T) {
	b := newBench(t)
	for status, want := range map[holdfast.BackupStatus]struct {
		status int
		code   string
	}{
		holdfast.BackupPending: {409, "backup_not_restorable"}, holdfast.BackupFailed: {409, "backup_not_restorable"},
		holdfast.BackupDeleted: {404, "backup_not_found"},
	} {
		bk := b.insertBackup(b.vps, func(x *holdfast.Backup) { x.Status = status })
		b.call("POST", b.backups()+"/"+bk.ID.String()+"/actions/restore-to-payg", b.full, "").want(want.status, want.code)
	}
	huge := b.insertBackup(b.vps, func(x *holdfast.Backup) {
		x.Disks = []holdfast.VPSDisk{{Name: "disk0", SizeBytes: 2001 * holdfast.GiB}}
	})
	b.call("POST", b.backups()+"/"+huge.ID.String()+"/actions/restore-to-payg", b.full, "").want(403, "storage_limit_exceeded")
	if got := b.gate(b.full, "canRestoreToPayg"); got != "storage_limit_exceeded" {
		t.Errorf("the gate: %q", got)
	}
}

func TestDeleteBackup(t *testing.T) {
	b := newBench(t)
	bk := b.insertBackup(b.vps)
	path := b.backups() + "/" + bk.ID.String()
	restore := b.call("POST", path+"/actions/restore-to-payg", b.full, "").want(202, "").text("operation.jobId")
	a := b.call("DELETE", path, b.full, "").want(409, "operation_in_progress")
	if a.text("extensions.jobId") != restore {
		t.Errorf("%s", a.raw)
	}
	protected := b.insertBackup(b.vps, func(x *holdfast.Backup) { x.Protected = true })
	b.call("DELETE", b.backups()+"/"+protected.ID.String(), b.full, "").want(409, "backup_protected")

	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	locked := b.insertBackup(b.vps, func(x *holdfast.Backup) { x.LockedUntil = until })
	if a := b.call("DELETE", b.backups()+"/"+locked.ID.String(), b.full, "").want(409, "backup_locked"); a.text("extensions.lockedUntil") != until.Format(time.RFC3339) {
		t.Errorf("%s", a.raw)
	}
	past := b.insertBackup(b.vps, func(x *holdfast.Backup) { x.LockedUntil = time.Now().Add(-time.Second) })
	b.call("DELETE", b.backups()+"/"+past.ID.String(), b.full, "").want(204, "")

	b.tx(func(tx *store.Tx) error { // the restore ends
		_, err := tx.ClaimOperation(b.ctx(), b.host, []holdfast.Kind{holdfast.KindRestoreToPayg}, "r", 1e9)
		b.ok(err)
		return tx.EndOperation(b.ctx(), store.Held{Job: holdfast.JobID(restore), Epoch: 1, Runner: "r"}, []byte("{}"), nil)
	})
	if a := b.call("DELETE", path, b.full, "").want(204, ""); len(a.raw) != 0 {
		t.Errorf("a body: %s", a.raw)
	}
	b.call("DELETE", path, b.full, "").want(404, "backup_not_found")
	b.call("POST", path+"/actions/restore-to-payg", b.full, "").want(404, "backup_not_found")
	o, err := b.store.OperationOnBackup(b.ctx(), bk.ID)
	b.ok(err)
	if o.Kind != holdfast.KindBackupDelete || o.HostID != b.host {
		t.Errorf("%+v", o)
	}
	running := b.call("POST", b.backups(), b.full, "").want(202, "").text("operation.jobId")
	o, err = b.store.Operation(b.ctx(), holdfast.JobID(running))
	b.ok(err)
	b.call("DELETE", b.backups()+"/"+o.BackupID.String(), b.full, "").want(409, "operation_in_progress")
}
