package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"holdfast"
)

// The two published pages that this API began with, as their clients read them:
// "Create VPS backup" and "Restore backup to a new Cloud VM". Each field,
// status and header that they name is looked for here.

// seedPage is what a page says of its route.
type seedPage struct {
	operation, path string
	scopes          []string
	params          []string
	body            map[string]string // optional fields and their types
	example         string
	statuses        []string
}

var seedPages = []seedPage{
	{
		operation: "createBackup", path: "/api/v2/vps/{id}/backups", scopes: []string{"backup:vm"}, params: []string{"id"},
		body: map[string]string{"note": "string"}, example: `{"note": "Before upgrade"}`,
		statuses: []string{"202", "400", "401", "403", "404", "429", "500"},
	},
	{
		operation: "restoreBackupToPayg", path: "/api/v2/vps/{id}/backups/{backupId}/actions/restore-to-payg",
		scopes: []string{"backup:vm", "write:billing"}, params: []string{"id", "backupId"},
		body:     map[string]string{"name": "string", "region": "string", "cpuCores": "integer", "memoryGb": "integer", "storageGb": "integer"},
		example:  `{"name":"restore-web-01","region":"stockholm","cpuCores":2,"memoryGb":4,"storageGb":80}`,
		statuses: []string{"202", "400", "401", "403", "404", "429", "500"},
	},
}

func TestSeedPagesAreDocumented(t *testing.T) {
	b := newBench(t)
	for _, page := range seedPages {
		item := b.spec.spec.Paths.Find(page.path)
		if item == nil || item.Post == nil {
			t.Fatalf("no POST %s", page.path)
		}
		op := item.Post
		if op.OperationID != page.operation || !slices.Equal((*op.Security)[0]["bearer"], page.scopes) {
			t.Errorf("%s: operation %s, scopes %v", page.path, op.OperationID, (*op.Security)[0])
		}
		for _, name := range page.params {
			if p := op.Parameters.GetByInAndName("path", name); p == nil || !p.Required {
				t.Errorf("%s: path parameter %s", page.path, name)
			}
		}
		if op.RequestBody.Value.Required {
			t.Errorf("%s: the body must be optional", page.path)
		}
		schema := op.RequestBody.Value.Content["application/json"].Schema.Value
		if len(schema.Properties) != len(page.body) || len(schema.Required) != 0 {
			t.Errorf("%s: body has %d fields, requires %v", page.path, len(schema.Properties), schema.Required)
		}
		for name, kind := range page.body {
			if p := schema.Properties[name]; p == nil || !p.Value.Type.Includes(kind) {
				t.Errorf("%s: body field %s", page.path, name)
			}
		}
		for _, status := range page.statuses {
			r := op.Responses.Value(status)
			if r == nil {
				t.Errorf("%s: status %s is not documented", page.path, status)
				continue
			}
			if status != "202" && r.Value.Content["application/problem+json"] == nil {
				t.Errorf("%s: %s is no problem document", page.path, status)
			}
		}
		for _, name := range []string{"Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
			if op.Responses.Value("429").Value.Headers[name] == nil {
				t.Errorf("%s: 429 does not document %s", page.path, name)
			}
		}
	}
}

// curl is the request that a page shows, with its ids filled in.
func (b *bench) curl(page seedPage, bk holdfast.Backup) string {
	path := "/api/v2/vps/" + b.vps.ID.String() + "/backups"
	if page.operation == "restoreBackupToPayg" {
		path += "/" + bk.ID.String() + "/actions/restore-to-payg"
	}
	return path
}

func TestSeedPagesAnswer(t *testing.T) {
	for _, page := range seedPages {
		for _, body := range []string{"", "{}", page.example} {
			b := newBench(t)
			bk := b.insertBackup(b.vps)
			path := b.curl(page, bk)
			a := b.call("POST", path, b.full, body, header{"Accept": "application/json", "Content-Type": "application/json"}).want(202, "")
			var got struct {
				Operation map[string]json.RawMessage `json:"operation"`
			}
			b.ok(json.Unmarshal(a.raw, &got))
			if len(got.Operation) != 4 || string(got.Operation["result"]) != "null" {
				t.Errorf("the envelope is %s", a.raw)
			}
			if _, err := holdfast.ParseID[holdfast.JobID](a.text("operation.jobId")); err != nil {
				t.Error(err)
			}
			if a.text("operation.status") != "queued" || a.text("operation.pollUrl") != "/api/jobs/"+a.text("operation.jobId") {
				t.Errorf("the envelope is %s", a.raw)
			}
			b.call("GET", a.text("operation.pollUrl"), b.full, "").want(200, "")
		}
	}
}

// Each failure that the pages name, and the members of its problem.
func TestSeedPagesFail(t *testing.T) {
	for _, page := range seedPages {
		b := newBench(t)
		path := b.curl(page, b.insertBackup(b.vps))
		bad := b.call("POST", path, b.full, `{"mode":"suspend","stop":true}`).want(400, "invalid_request")
		if bad.faults() != "/mode:unknown_field /stop:unknown_field" {
			t.Errorf("faults: %s", bad.faults())
		}
		b.call("POST", path, "", "").want(401, "unauthorized")
		b.call("POST", path, b.read, "").want(403, "forbidden")
		b.call("POST", path, b.otherKey, "").want(404, "vps_not_found")
		for _, member := range []string{"type", "title", "status", "detail", "code", "instance", "requestId", "timestamp", "errors", "extensions"} {
			bad.at(member)
		}
	}
}

func TestRateLimitOfSeedPages(t *testing.T) {
	b := newBench(t, rate(60, 2))
	path := b.curl(seedPages[0], holdfast.Backup{})
	first := b.call("POST", path, b.full, "")
	if first.header.Get("X-RateLimit-Limit") != "60" || first.header.Get("X-RateLimit-Remaining") != "1" {
		t.Errorf("%v", first.header)
	}
	b.call("POST", path, b.full, "")
	a := b.call("POST", path, b.full, "").want(http.StatusTooManyRequests, "rate_limited")
	if a.header.Get("Retry-After") != "1" || a.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("%v", a.header)
	}
}
