package api_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestUnknownPaths(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	vps := "/api/v2/vps/" + b.vps.ID.String()
	for _, path := range []string{
		"/", "/api", "/api/v2", "/api/v1/vps", "/api/v2/VPS", "/api/v2/vps/payg/limits/x/y", "/api/v2/jobs/x", "/api/jobs/", "/api/jobs/x/actions", "/admin", "/admin/v1",
		vps + "/snapshot", vps + "/actions/explode", "/openapi.yaml", "/docs", "/schemas/VPS.json", "/favicon.ico",
		"/api/v2/vps/", "//api/v2/vps", "/api//v2/vps", "/api/v2/./vps", "/api/v2/../v2/vps", "/api/v2/vps/..", "/api/v2/vps/.", "/..", "/./",
		"/api/v2/%76ps", "/api/v2%2Fvps", "/api/v2/vps%2F", "/api/v2/vps/%2e%2e/vps", "/%2e%2e/", "/api/v2/vps/%00", "/api/v2/vps/%ff",
		"/api/v2/vps;x=1", "/api/v2\\vps", vps + "/backups/", vps + "//backups", "/healthz/", "/openapi.json/",
	} {
		for _, key := range []string{"", b.full} {
			for _, method := range []string{"GET", "POST", "HEAD", "DELETE", "OPTIONS", "PROPFIND"} {
				u, err := url.Parse("http://example.com" + path)
				b.ok(err)
				r := httptest.NewRequestWithContext(b.ctx(), method, "/", nil)
				r.URL = u
				if key != "" {
					r.Header.Set("Authorization", "Bearer "+key)
				}
				a := b.send(r)
				if a.status != 404 || a.header.Get("Location") != "" || (method != "HEAD" && a.code() != "not_found") {
					t.Errorf("%s %s: %d %s", method, path, a.status, a.raw)
				}
			}
		}
	}
}

func TestMethods(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	vps := "/api/v2/vps/" + b.vps.ID.String()
	for _, c := range []struct{ path, allow string }{
		{"/api/v2/vps", "GET, HEAD, OPTIONS"},
		{vps, "GET, HEAD, OPTIONS"},
		{vps + "/backups", "GET, HEAD, OPTIONS, POST"},
		{vps + "/backups/x", "DELETE, OPTIONS"},
		{vps + "/backups/x/actions/restore-to-payg", "OPTIONS, POST"},
		{vps + "/backups/x/actions/restore", "OPTIONS, POST"},
		{vps + "/backups/restore-sources", "DELETE, GET, HEAD, OPTIONS"},
		{vps + "/backups/actions/restore-from-vps", "OPTIONS, POST"},
		{vps + "/actions/undo-restore", "OPTIONS, POST"},
		{"/api/jobs", "GET, HEAD, OPTIONS"},
		{"/api/jobs/x", "GET, HEAD, OPTIONS"},
		{"/api/jobs/x/actions/cancel", "OPTIONS, POST"},
		{"/admin/v1/vps-list", "OPTIONS, POST"},
		{"/openapi.json", "GET, HEAD, OPTIONS"},
		{"/healthz", "GET, HEAD, OPTIONS"},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", strings.Repeat("X", 40)} {
			if strings.Contains(c.allow, method) {
				continue
			}
			a := b.call(method, c.path, b.full, "")
			if a.status != 405 || a.header.Get("Allow") != c.allow || (method != "HEAD" && a.code() != "method_not_allowed") {
				t.Errorf("%s %s: %d, Allow %q, %s", method, c.path, a.status, a.header.Get("Allow"), a.raw)
			}
		}
		if a := b.call("OPTIONS", c.path, "", ""); a.status != 204 || a.header.Get("Allow") != c.allow || len(a.raw) > 0 {
			t.Errorf("OPTIONS %s: %d %q", c.path, a.status, a.header.Get("Allow"))
		}
	}
	b.call("HEAD", "/api/v2/vps", b.full, "").want(200, "")
	b.call("HEAD", "/api/v2/vps", "", "").want(401, "")
}

// Over a real connection: what net/http does by itself must be ours too.
func TestOverTheWire(t *testing.T) {
	b := newBench(t)
	srv := httptest.NewServer(b.handler)
	defer srv.Close()
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for path, want := range map[string]int{"/healthz": 200, "/healthz/": 404, "//healthz": 404, "/x/../healthz": 404, "/%68ealthz": 404} {
		resp, err := client.Get(srv.URL + path)
		b.ok(err)
		b.ok(resp.Body.Close())
		if resp.StatusCode != want || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	resp, err := client.Head(srv.URL + "/nothing")
	b.ok(err)
	b.ok(resp.Body.Close())
	if resp.StatusCode != 404 || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
	}
	large := `{"note":"` + strings.Repeat("x", 2<<20) + `"}`
	// A body over the limit whose length is known, and one that just comes.
	for _, length := range []int64{int64(len(large)), -1} {
		r, err := http.NewRequestWithContext(b.ctx(), "POST", srv.URL+"/api/v2/vps/"+b.vps.ID.String()+"/backups", strings.NewReader(large))
		b.ok(err)
		r.ContentLength = length
		r.Header.Set("Authorization", "Bearer "+b.full)
		resp, err := client.Do(r)
		b.ok(err)
		b.ok(resp.Body.Close())
		if resp.StatusCode != 413 {
			t.Errorf("length %d: %d", length, resp.StatusCode)
		}
	}
}
