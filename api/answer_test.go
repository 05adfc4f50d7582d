package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"holdfast"
)

// answer is a response with its body decoded.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

type header map[string]string

// call sends a request as a client does and holds the answer against the
// published document.
func (b *bench) call(method, path, key string, body string, headers ...header) answer {
	b.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequestWithContext(b.ctx(), method, path, r)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for _, h := range headers {
		for k, v := range h {
			req.Header.Set(k, v)
		}
	}
	return b.send(req)
}

// raw is call without the requirement that the answer is an object.
func (b *bench) raw(method, path, key, body string) answer {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.ctx(), method, path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	a := answer{t: b.t, status: w.Code, header: w.Result().Header, raw: w.Body.Bytes()}
	if a.status >= 400 {
		b.ok(json.Unmarshal(a.raw, &a.body))
	}
	a.envelopeOfAll(r)
	return a
}

func (b *bench) send(req *http.Request) answer {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, req)
	a := answer{t: b.t, status: w.Code, header: w.Result().Header, raw: w.Body.Bytes()}
	if len(a.raw) > 0 && req.Method != http.MethodHead {
		if err := json.Unmarshal(a.raw, &a.body); err != nil {
			b.t.Fatalf("%s %s: %d is not a JSON object: %s", req.Method, req.URL, a.status, a.raw)
		}
	}
	a.envelopeOfAll(req)
	if b.spec != nil {
		b.spec.check(b.t, req, a)
	}
	return a
}

// envelopeOfAll checks what every answer has.
func (a answer) envelopeOfAll(req *http.Request) {
	a.t.Helper()
	id := a.header.Get("X-Request-Id")
	if _, err := holdfast.ParseID[holdfast.RequestID](id); err != nil {
		a.t.Errorf("%s %s: X-Request-Id %q", req.Method, req.URL, id)
	}
	for _, h := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
		if a.header.Get(h) == "" {
			a.t.Errorf("%s %s: %d without %s", req.Method, req.URL, a.status, h)
		}
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", a.header.Get("X-RateLimit-Reset")); err != nil {
		a.t.Errorf("X-RateLimit-Reset: %v", err)
	}
	if a.status >= 400 && req.Method != http.MethodHead {
		a.problemShape(req, id)
	}
}

func (a answer) problemShape(req *http.Request, id string) {
	a.t.Helper()
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		a.t.Errorf("%s %s: %d has Content-Type %q", req.Method, req.URL, a.status, ct)
	}
	code, _ := a.body["code"].(string)
	if a.body["status"] != float64(a.status) || a.body["requestId"] != id || a.body["type"] != "https://docs.example.com/errors/"+code ||
		a.body["title"] == "" || a.body["detail"] == "" || a.body["instance"] != req.URL.EscapedPath() {
		a.t.Errorf("%s %s: problem %s", req.Method, req.URL, a.raw)
	}
	if _, ok := a.body["extensions"].(map[string]any); !ok {
		a.t.Errorf("extensions: %s", a.raw)
	}
	stamp, _ := a.body["timestamp"].(string)
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", stamp); err != nil {
		a.t.Errorf("timestamp: %v", err)
	}
	if _, ok := a.header["Www-Authenticate"]; ok != (a.status == 401) {
		a.t.Errorf("WWW-Authenticate on %d: %v", a.status, ok)
	}
}

func (a answer) code() string {
	c, _ := a.body["code"].(string)
	return c
}

// want checks status, and the code of a problem.
func (a answer) want(status int, code string) answer {
	a.t.Helper()
	if a.status != status || (code != "" && a.code() != code) {
		a.t.Fatalf("got %d %q, want %d %q: %s", a.status, a.code(), status, code, a.raw)
	}
	return a
}

// faults are the errors of a problem as "pointer:code", in order.
func (a answer) faults() string {
	list, _ := a.body["errors"].([]any)
	var out []string
	for _, x := range list {
		f := x.(map[string]any)
		if f["detail"] == "" {
			a.t.Errorf("a field error says nothing: %s", a.raw)
		}
		out = append(out, f["pointer"].(string)+":"+f["code"].(string))
	}
	return strings.Join(out, " ")
}

// at reads a value by its dotted path.
func (a answer) at(path string) any {
	a.t.Helper()
	var v any = a.body
	for part := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			a.t.Fatalf("no %s in %s", path, a.raw)
		}
		if v, ok = m[part]; !ok {
			a.t.Fatalf("no %s in %s", path, a.raw)
		}
	}
	return v
}

func (a answer) text(path string) string {
	a.t.Helper()
	s, ok := a.at(path).(string)
	if !ok {
		a.t.Fatalf("%s is no string: %s", path, a.raw)
	}
	return s
}
