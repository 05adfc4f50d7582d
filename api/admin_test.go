package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"holdfast"
)

// admin runs an operator's command over HTTP and reads its answer into out.
func (b *bench) admin(name string, in, out any) {
	b.t.Helper()
	raw, err := json.Marshal(in)
	b.ok(err)
	w := b.raw("POST", "/admin/v1/"+name, b.operator, string(raw))
	if w.status != 200 {
		b.t.Fatalf("%s: %d %s", name, w.status, w.raw)
	}
	b.ok(json.Unmarshal(w.raw, out))
}

func TestOperatorsDoor(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	var names []struct{ Name string }
	b.admin("account-list", struct{}{}, &names)
	if len(names) != 2 {
		t.Errorf("%v", names)
	}
	var key struct{ Secret, ID string }
	b.admin("key-create", map[string]any{"account": "main", "scopes": []string{"read:vm"}}, &key)
	b.call("GET", "/api/v2/vps", key.Secret, "").want(200, "")
	var keys []map[string]any
	b.admin("key-list", map[string]any{"account": "main"}, &keys)
	for _, k := range keys {
		if k["secret"] != nil || k["hash"] != nil {
			t.Errorf("a listed key tells too much: %v", k)
		}
	}
	var done map[string]any
	b.admin("key-revoke", map[string]any{"account": "main", "key": key.ID}, &done)
	b.call("GET", "/api/v2/vps", key.Secret, "").want(401, "unauthorized")

	var image, job map[string]any
	b.admin("image-import", map[string]any{"name": "tiny", "disk": "/images/tiny.raw", "format": "raw", "sizeBytes": 1 << 30, "kernel": "/images/vmlinuz"}, &image)
	b.admin("vps-create", map[string]any{"account": "main", "name": "demo", "image": "tiny", "cpuCores": 1, "memoryMiB": 128,
		"extraDisksBytes": []int{1 << 20}, "forward": []int{8080}}, &job)
	o, err := b.store.Operation(b.ctx(), holdfast.JobID(job["jobId"].(string)))
	b.ok(err)
	var in holdfast.MachineInput
	b.ok(json.Unmarshal(o.Input, &in))
	if o.Kind != holdfast.KindVPSCreate || in.Image == nil || in.Image.Path != "/images/tiny.raw" || len(in.Disks) != 2 || in.Disks[1].Name != "disk1" || fmt.Sprint(in.Forward) != "[8080]" || !in.Start {
		t.Errorf("%+v", in)
	}
	b.raw("POST", "/admin/v1/vps-delete", b.operator, `{"vps":"`+job["vps"].(string)+`"}`).want(409, "operation_in_progress")
	b.claim(holdfast.KindVPSCreate).done(holdfast.MachineReport{Power: holdfast.PowerRunning})
	b.admin("vps-stop", map[string]any{"vps": job["vps"], "force": true}, &job)
	b.raw("POST", "/admin/v1/vps-start", b.operator, `{"vps":"`+job["vps"].(string)+`"}`).want(409, "operation_in_progress")
	b.claim(holdfast.KindVPSStop).done(holdfast.MachineReport{Power: holdfast.PowerStopped})
	b.admin("vps-delete", map[string]any{"vps": job["vps"]}, &job)
	b.raw("POST", "/admin/v1/vps-start", b.operator, `{"vps":"`+job["vps"].(string)+`"}`).want(409, "operation_in_progress")
	b.claim(holdfast.KindVPSDelete).done(struct{}{})
	b.raw("POST", "/admin/v1/vps-start", b.operator, `{"vps":"`+job["vps"].(string)+`"}`).want(409, "service_terminated")
	b.admin("job-get", map[string]any{"jobId": job["jobId"]}, &job)
	if job["status"] != "completed" {
		t.Errorf("%v", job)
	}
}

func TestOperatorsDoorRefuses(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	for _, name := range b.control.CommandNames() {
		b.raw("POST", "/admin/v1/"+name, "", "").want(401, "unauthorized")
		b.raw("POST", "/admin/v1/"+name, b.full, "").want(403, "forbidden")
		b.raw("POST", "/admin/v1/"+name, b.operator, `{"nonsense":1}`).want(400, "invalid_request")
		b.raw("POST", "/admin/v1/"+name, b.operator, `x`).want(400, "invalid_request")
	}
	b.raw("POST", "/admin/v1/nothing", b.operator, "").want(404, "not_found")
	r := b.raw("POST", "/admin/v1/nothing", b.full, "")
	r.want(403, "forbidden")
	b.call("POST", "/admin/v1/key-create", b.operator, `{"account":"main","scopes":["read:vm"]}`, key("k")).want(400, "invalid_request")

	for _, c := range []struct{ name, body, code, faults string }{
		{"account-create", `{"name":""}`, "invalid_request", "/name:invalid_value"},
		{"account-create", `{"name":"main"}`, "invalid_request", "/name:invalid_value"},
		{"account-create", `{}`, "invalid_request", "/name:missing_required"},
		{"account-set", `{"account":"nobody"}`, "not_found", ""},
		{"key-create", `{"account":"main","scopes":["root"]}`, "invalid_request", "/scopes:invalid_value"},
		{"key-create", `{"account":"main","scopes":[]}`, "invalid_request", "/scopes:invalid_value"},
		{"key-create", `{"account":"main","scopes":["read:vm"],"expiresAt":"soon"}`, "invalid_request", "/expiresAt:invalid_value"},
		{"key-create", `{"account":"` + b.foreign.ID.String() + `","scopes":["read:vm"]}`, "not_found", ""},
		{"key-revoke", `{"account":"main","key":"x"}`, "not_found", ""},
		{"operator-key-revoke", `{"key":"x"}`, "not_found", ""},
		{"region-create", `{"id":"Stockholm!"}`, "invalid_request", "/id:invalid_value"},
		{"host-register", `{"name":"h9","region":"atlantis"}`, "region_unknown", ""},
		{"host-enable", `{"host":"h9","enabled":true}`, "not_found", ""},
		{"image-import", `{"name":"i","disk":"x","format":"vmdk","sizeBytes":5,"kernel":"k"}`, "invalid_request", "/disk:invalid_value /kernel:invalid_value /format:invalid_value /sizeBytes:invalid_value"},
		{"vps-create", `{"account":"main","name":"v1x","image":"none","cpuCores":1,"memoryMiB":128}`, "not_found", ""},
		{"vps-create", `{"account":"main","name":"-","image":"none","cpuCores":0,"memoryMiB":1,"diskBytes":5,"extraDisksBytes":[5],"forward":[0]}`, "invalid_request",
			"/name:invalid_value /cpuCores:invalid_value /memoryMiB:invalid_value /diskBytes:invalid_value /extraDisksBytes:invalid_value /forward:invalid_value"},
		{"vps-start", `{"vps":"x"}`, "vps_not_found", ""},
		{"vps-stop", `{"vps":"x","graceSeconds":-1}`, "invalid_request", "/graceSeconds:invalid_value"},
		{"job-get", `{"jobId":"x"}`, "job_not_found", ""},
	} {
		a := b.raw("POST", "/admin/v1/"+c.name, b.operator, c.body)
		if a.code() != c.code || a.faults() != c.faults {
			t.Errorf("%s %s: %d %s %q", c.name, c.body, a.status, a.code(), a.faults())
		}
	}
	if doc := b.call("GET", "/openapi.json", "", ""); strings.Contains(string(doc.raw), "/admin/") {
		t.Error("the public document shows the operator's door")
	}
}
