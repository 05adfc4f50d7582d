package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

func (b *bench) snapshots() string { return "/api/v2/vps/" + b.vps.ID.String() + "/snapshots" }

// insertSnapshot writes a completed snapshot of a VPS.
func (b *bench) insertSnapshot(v holdfast.VPS, name string, change ...func(*holdfast.Snapshot)) holdfast.Snapshot {
	b.t.Helper()
	s := holdfast.Snapshot{
		ID: holdfast.NewID[holdfast.SnapshotID](), AccountID: v.AccountID, VPSID: v.ID, Generation: v.Generation, Name: name,
		Status: holdfast.SnapshotCompleted, RequestedAt: b.clock(), TakenAt: b.clock(), ExpiresAt: b.clock().Add(24 * time.Hour),
	}
	for _, f := range change {
		f(&s)
	}
	b.tx(func(tx *store.Tx) error { return tx.InsertSnapshot(b.ctx(), s) })
	return s
}

// gateIn reads a gate of a resource: "" when it is open, else its code.
func (b *bench) gateIn(path, key, name string) string {
	b.t.Helper()
	a := b.call("GET", path, key, "").want(200, "")
	code, _ := a.at("actions." + name + ".code").(string)
	if allowed := a.at("actions." + name + ".allowed").(bool); allowed != (code == "") {
		b.t.Errorf("the gate %s is %s", name, a.raw)
	}
	return code
}

// line is the listed snapshots as "name<parent", in order.
func (b *bench) line() string {
	b.t.Helper()
	var out []string
	for _, i := range b.call("GET", b.snapshots(), b.full, "").want(200, "").at("data").([]any) {
		s := i.(map[string]any)
		if s["displayId"] != s["name"] || s["includesMemoryState"] != false {
			b.t.Errorf("listed: %v", s)
		}
		out = append(out, fmt.Sprintf("%v<%v", s["name"], s["parentName"]))
	}
	return strings.Join(out, " ")
}

func TestSnapshotsComeAndGo(t *testing.T) {
	b := newBench(t)
	if got := b.line(); got != "" {
		t.Errorf("listed: %s", got)
	}
	url := b.call("POST", b.snapshots(), b.backup, `{"name":"one","description":"Before upgrade"}`).want(202, "").text("operation.pollUrl")
	pending := b.call("GET", b.snapshots(), b.full, "").at("data").([]any)[0].(map[string]any)
	if pending["createdAt"] != nil || pending["expiresAt"] != nil || pending["description"] != "Before upgrade" {
		t.Errorf("before it is taken: %v", pending)
	}
	taken := b.clock()
	r := b.claim(holdfast.KindSnapshotCreate)
	b.pass(time.Minute)
	r.done(holdfast.SnapshotReport{TakenAt: taken.Add(time.Second), Frozen: true})
	a := b.state(url, b.full)
	if flags(a) != "completed:isCompleted" || a.text("type") != "snapshot_create" || a.text("resource.id") != b.vps.ID.String() || a.text("links.snapshots") != b.snapshots() {
		t.Errorf("%s", a.raw)
	}
	created := taken.Add(time.Second).UTC().Format("2006-01-02T15:04:05.000Z")
	expires := taken.Add(24*time.Hour + time.Second).UTC().Format("2006-01-02T15:04:05.000Z")
	if a.text("result.snapshotId") != "one" || a.text("result.createdAt") != created || a.text("result.expiresAt") != expires || a.text("result.consistency") != "filesystem" {
		t.Errorf("%s", a.raw)
	}
	listed := b.call("GET", b.snapshots(), b.full, "").want(200, "")
	one := listed.at("data").([]any)[0].(map[string]any)
	if one["createdAt"] != created || one["expiresAt"] != expires || listed.at("limits.totalSnapshots") != 8.0 || listed.at("available") != true || listed.at("reason") != nil {
		t.Errorf("%s", listed.raw)
	}
	b.call("POST", b.snapshots(), b.full, `{"name":"one"}`).want(409, "snapshot_exists")
	for _, name := range []string{"two", "three"} {
		b.call("POST", b.snapshots(), b.full, `{"name":"`+name+`"}`).want(202, "")
		b.claim(holdfast.KindSnapshotCreate).done(holdfast.SnapshotReport{TakenAt: b.clock()})
	}
	if got := b.line(); got != "one<<nil> two<one three<two" {
		t.Errorf("the line is %s", got)
	}
	url = b.call("POST", b.snapshots()+"/two/actions/restore", b.backup, "").want(202, "").text("operation.pollUrl")
	b.claim(holdfast.KindSnapshotRestore).done(holdfast.SnapshotReport{Power: holdfast.PowerRunning})
	if a := b.state(url, b.full); a.text("result.powerState") != "running" || a.text("result.snapshotId") != "two" {
		t.Errorf("%s", a.raw)
	}
	if got := b.line(); got != "one<<nil> two<one" {
		t.Errorf("after the rollback the line is %s", got)
	}
	url = b.call("DELETE", b.snapshots()+"/one", b.backup, "").want(202, "").text("operation.pollUrl")
	b.claim(holdfast.KindSnapshotDelete).done(holdfast.SnapshotReport{})
	if a := b.state(url, b.full); flags(a) != "completed:isCompleted" || b.line() != "two<<nil>" {
		t.Errorf("%s; the line is %s", a.raw, b.line())
	}
}

func TestSnapshotsOfOthersDoNotExist(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	b.insertSnapshot(b.vps, "mine")
	b.insertSnapshot(b.foreign, "theirs")
	second := b.insertVPS(b.account, "web-02")
	b.insertSnapshot(second, "second")
	b.insertSnapshot(b.vps, "older", func(s *holdfast.Snapshot) { s.Generation-- })
	b.insertSnapshot(b.vps, "going", func(s *holdfast.Snapshot) { s.Status = holdfast.SnapshotDeleting })
	for _, c := range []struct{ vps, name, code string }{
		{b.foreign.ID.String(), "theirs", "vps_not_found"},
		{holdfast.NewID[holdfast.VPSID]().String(), "mine", "vps_not_found"},
		{"vps_x", "mine", "vps_not_found"},
		{b.vps.ID.String(), "theirs", "snapshot_not_found"},
		{b.vps.ID.String(), "second", "snapshot_not_found"},
		{b.vps.ID.String(), "older", "snapshot_not_found"},
		{b.vps.ID.String(), "going", "snapshot_not_found"},
		{b.vps.ID.String(), "MINE", "snapshot_not_found"},
		{b.vps.ID.String(), "none", "snapshot_not_found"},
		{b.vps.ID.String(), "a.b", "snapshot_not_found"},
		{b.vps.ID.String(), strings.Repeat("x", 5000), "snapshot_not_found"},
	} {
		base := "/api/v2/vps/" + c.vps
		if c.code == "vps_not_found" {
			b.call("GET", base+"/snapshots", b.full, "").want(404, c.code)
			b.call("POST", base+"/snapshots", b.full, "not json").want(404, c.code)
			b.call("GET", base+"/snapshot-schedules", b.full, "").want(404, c.code)
			b.call("POST", base+"/snapshot-schedules", b.full, "not json").want(404, c.code)
			b.call("DELETE", base+"/snapshot-schedules", b.full, "").want(404, c.code)
		}
		b.call("POST", base+"/snapshots/"+c.name+"/actions/restore", b.full, `{"x":1}`).want(404, c.code)
		b.call("DELETE", base+"/snapshots/"+c.name, b.full, "").want(404, c.code)
	}
	if got := b.line(); got != "mine<<nil>" {
		t.Errorf("listed: %s", got)
	}
	b.insertSnapshot(b.foreign, "mine") // a name is a VPS's own
	b.call("DELETE", b.snapshots()+"/mine", b.full, "").want(202, "")
}

func TestWrongSnapshotBodies(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	b.insertSnapshot(b.vps, "a")
	schedule := "/api/v2/vps/" + b.vps.ID.String() + "/snapshot-schedules"
	restore := b.snapshots() + "/a/actions/restore"
	for _, c := range []struct{ path, body, faults string }{
		{b.snapshots(), ``, "/name:missing_required"},
		{b.snapshots(), `{"name":null}`, "/name:missing_required"},
		{b.snapshots(), `{"name":""}`, "/name:invalid_value"},
		{b.snapshots(), `{"name":"a b"}`, "/name:invalid_value"},
		{b.snapshots(), `{"name":"å"}`, "/name:invalid_value"},
		{b.snapshots(), `{"name":"../x"}`, "/name:invalid_value"},
		{b.snapshots(), `{"name":"` + strings.Repeat("x", 41) + `"}`, "/name:invalid_value"},
		{b.snapshots(), `{"name":5}`, "/name:invalid_value"},
		{b.snapshots(), `{"name":"b","description":[]}`, "/description:invalid_value"},
		{b.snapshots(), `{"name":"b","description":"` + strings.Repeat("å", 501) + `"}`, "/description:invalid_value"},
		{b.snapshots(), `{"name":"b","memory":true,"Name":"c"}`, "/memory:unknown_field /Name:unknown_field"},
		{b.snapshots(), `{"name":"b","name":"c"}`, "/name:invalid_value"},
		{b.snapshots(), `[]`, ":invalid_value /name:invalid_value"},
		{restore, `{"force":true}`, "/force:unknown_field"},
		{restore, `x`, ":invalid_value"},
		{schedule, `{"enabled":"yes","intervalHours":"6","hours":6}`, "/enabled:invalid_value /intervalHours:invalid_value /hours:unknown_field"},
		{schedule, `{"intervalHours":1e999}`, "/intervalHours:invalid_value"},
		{schedule, `null`, ":invalid_value"},
	} {
		if a := b.call("POST", c.path, b.full, c.body).want(400, "invalid_request"); a.faults() != c.faults {
			t.Errorf("%s: %q", c.body, a.faults())
		}
	}
	b.call("POST", b.snapshots(), b.full, `{"name":"b"}`, header{"Content-Type": "text/plain"}).want(415, "unsupported_media_type")
	if got := b.line(); got != "a<<nil>" {
		t.Errorf("a refused request made one: %s", got)
	}
	b.call("POST", b.snapshots(), b.full, `{"name":"`+strings.Repeat("Z", 40)+`","description":null}`).want(202, "")
}

func TestSnapshotIdempotency(t *testing.T) {
	b := newBench(t)
	first := b.call("POST", b.snapshots(), b.full, `{"name":"a"}`, key("k")).want(202, "")
	again := b.call("POST", b.snapshots(), b.full, `{ "name": "a" }`, key("k")).want(202, "")
	if again.text("operation.jobId") != first.text("operation.jobId") || again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%s, then %s", first.raw, again.raw)
	}
	b.call("POST", b.snapshots(), b.full, `{"name":"b"}`, key("k")).want(409, "idempotency_key_reused")
	schedule := "/api/v2/vps/" + b.vps.ID.String() + "/snapshot-schedules"
	one := b.call("POST", schedule, b.full, `{"intervalHours":6}`, key("s")).want(200, "")
	b.call("POST", schedule, b.full, `{"intervalHours":8}`).want(200, "")
	two := b.call("POST", schedule, b.full, `{"intervalHours":6}`, key("s")).want(200, "")
	if string(one.raw) != string(two.raw) || two.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s, then %s", one.raw, two.raw)
	}
	if got := b.call("GET", schedule, b.full, "").at("schedule.intervalHours"); got != 8.0 {
		t.Errorf("a replay changed the schedule to %v", got)
	}
	b.call("POST", schedule, b.full, `{"intervalHours":7}`, key("s")).want(409, "idempotency_key_reused")
}

// Whatever shuts a gate of the list, the call gets the same code; and deleting
// asks for less.
func TestSnapshotGates(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	for _, c := range []struct {
		name                    string
		create, restore, remove string
		shut                    func(*bench)
	}{
		{"open", "", "", "", func(*bench) {}},
		{"stopped is open", "", "", "", func(b *bench) {
			b.tx(func(tx *store.Tx) error { return tx.SetPower(b.ctx(), b.vps.ID, holdfast.PowerStopped) })
		}},
		{"account inactive", "account_inactive", "account_inactive", "", func(b *bench) { b.setAccount(control.SetAccountInput{Active: ptr(false)}) }},
		{"suspended", "service_suspended", "service_suspended", "", func(b *bench) { b.service(holdfast.ServiceSuspended) }},
		{"none kept here", "snapshots_unavailable", "snapshots_unavailable", "", func(b *bench) {
			_, err := b.control.RegisterHost(b.ctx(), control.RegisterHostInput{Name: "h1", Region: "stockholm", Driver: "sim", Snapshots: ptr(false)})
			b.ok(err)
		}},
		{"a backup runs", "operation_in_progress", "operation_in_progress", "operation_in_progress", func(b *bench) {
			b.call("POST", b.backups(), b.full, "").want(202, "")
		}},
		{"a power action runs", "", "operation_in_progress", "", func(b *bench) {
			_, err := b.control.StopVPS(b.ctx(), control.StopVPSInput{VPS: b.vps.ID.String()})
			b.ok(err)
		}},
		{"a deletion runs", "operation_in_progress", "operation_in_progress", "operation_in_progress", func(b *bench) {
			b.call("DELETE", b.snapshots()+"/one", b.full, "").want(202, "")
		}},
		{"as many as may be", "snapshot_limit_reached", "", "", func(b *bench) {
			for i := range 6 { // what is still being deleted counts
				b.insertSnapshot(b.vps, fmt.Sprint(i), func(s *holdfast.Snapshot) {
					if i == 0 {
						s.Status = holdfast.SnapshotDeleting
					}
				})
			}
		}},
		{"host silent", "host_unavailable", "host_unavailable", "host_unavailable", func(b *bench) {
			b.mu.Lock()
			b.now = b.now.Add(2 * holdfast.HostAlive)
			b.mu.Unlock()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.anew()
			b.insertSnapshot(b.vps, "one")
			b.insertSnapshot(b.vps, "two")
			c.shut(b)
			list := b.call("GET", b.snapshots(), b.full, "").want(200, "")
			for _, call := range []snapshotCall{
				{"canCreate", "POST", "", `{"name":"new"}`, c.create},
				{"canRestore", "POST", "/two/actions/restore", "", c.restore},
				{"", "DELETE", "/two", "", c.remove},
			} {
				if call.gate != "" {
					if got, _ := list.at("actions." + call.gate + ".code").(string); got != call.code {
						t.Errorf("the gate %s has %q, want %q", call.gate, got, call.code)
					}
				}
				if call.code != "" || !b.busy() { // what one call has begun is in the way of the next
					b.calls(call)
				}
			}
		})
	}
}

// anew begins with a new VPS, of an account and on a host in order.
func (b *bench) anew() {
	b.t.Helper()
	b.setAccount(control.SetAccountInput{Active: ptr(true)})
	_, err := b.control.RegisterHost(b.ctx(), control.RegisterHostInput{Name: "h1", Region: "stockholm", Driver: "sim", Snapshots: ptr(true)})
	b.ok(err)
	b.pass(0)
	b.vps = b.insertVPS(b.account, "anew")
}

// snapshotCall is a call behind a gate, and the code that it gets; "": none.
type snapshotCall struct{ gate, method, path, body, code string }

func (b *bench) calls(c snapshotCall) {
	b.t.Helper()
	a := b.call(c.method, b.snapshots()+c.path, b.full, c.body)
	if a.code() != c.code || a.status == 202 != (c.code == "") {
		b.t.Errorf("%s %s: %d %s, want %q", c.method, c.path, a.status, a.raw, c.code)
	}
	if c.code == "operation_in_progress" && a.text("extensions.pollUrl") != "/api/jobs/"+a.text("extensions.jobId") {
		b.t.Errorf("extensions: %s", a.raw)
	}
}

// busy says whether an operation works on the disks of the VPS.
func (b *bench) busy() bool {
	b.t.Helper()
	all, err := b.store.ActiveOperations(b.ctx(), b.vps.ID)
	b.ok(err)
	return slices.ContainsFunc(all, func(o holdfast.Operation) bool { return o.Lock == holdfast.LockData })
}

func TestSnapshotGatesByScopeAndWithout(t *testing.T) {
	b := newBench(t)
	if got := b.gateIn(b.snapshots(), b.full, "canRestore"); got != "snapshot_not_found" {
		t.Errorf("without a snapshot: %q", got)
	}
	b.insertSnapshot(b.vps, "a")
	schedule := "/api/v2/vps/" + b.vps.ID.String() + "/snapshot-schedules"
	for path, names := range map[string][]string{b.snapshots(): {"canCreate", "canRestore"}, schedule: {"canEnable"}} {
		for _, name := range names {
			if got := b.gateIn(path, b.read, name); got != "forbidden" {
				t.Errorf("%s by scope: %q", name, got)
			}
			if got := b.gateIn(path, b.full, name); got != "" {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// A power action waits for a rollback, and for nothing else of snapshots.
func TestPowerBesideSnapshots(t *testing.T) {
	b := newBench(t)
	for path, refused := range map[string]bool{"": false, "/a": false, "/a/actions/restore": true} {
		b.anew()
		b.insertSnapshot(b.vps, "a")
		method := "POST"
		if path == "/a" {
			method = "DELETE"
		}
		body := ""
		if path == "" {
			body = `{"name":"b"}`
		}
		b.call(method, b.snapshots()+path, b.full, body).want(202, "")
		_, err := b.control.StopVPS(b.ctx(), control.StopVPSInput{VPS: b.vps.ID.String()})
		if got := holdfast.CodeOf(err) == holdfast.CodeOperationInProgress; got != refused {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestOperatorListsSnapshots(t *testing.T) {
	b := newBench(t)
	b.insertSnapshot(b.vps, "a", func(s *holdfast.Snapshot) { s.Status, s.Error = holdfast.SnapshotDeleting, "The host's disk is full." })
	b.insertSnapshot(b.foreign, "b")
	var all []struct{ VPS, Name, Status, Error string }
	b.admin("snapshot-list", struct{}{}, &all)
	if len(all) != 2 {
		t.Errorf("%+v", all)
	}
	b.admin("snapshot-list", map[string]string{"account": "main"}, &all)
	if len(all) != 1 || all[0].Name != "a" || all[0].Status != "deleting" || all[0].Error == "" || all[0].VPS != b.vps.ID.String() {
		t.Errorf("%+v", all)
	}
}
