package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest sends anything to the router and the decoders. envelopeOfAll and
// the document check every answer; nothing may end in a 500.
func FuzzRequest(f *testing.F) {
	for _, s := range []struct{ method, path, query, contentType, body, key string }{
		{"GET", "/api/v2/vps", "limit=1&cursor=x", "", "", ""},
		{"POST", "/api/v2/vps/VPS/backups", "", "application/json", `{"note":"x"}`, "k"},
		{"POST", "/api/v2/vps/VPS/backups/BKP/actions/restore-to-payg", "", "", `{"name":"web-02","region":"stockholm","cpuCores":1,"memoryGb":1,"storageGb":80}`, ""},
		{"POST", "/api/v2/vps/VPS/backups/BKP/actions/restore-to-payg", "", "", `{"storageGb":9223372036854775807}`, ""},
		{"DELETE", "/api/v2/vps/VPS/backups/x", "", "", "", ""},
		{"GET", "/api/jobs/x", "", "", "", ""},
		{"GET", "/api/jobs", "limit=1&cursor=x&resourceId=VPS&status=queued&type=backup", "", "", ""},
		{"POST", "/api/jobs/x/actions/cancel", "", "application/json", `{}`, "k"},
		{"POST", "/admin/v1/vps-create", "", "", `{}`, ""},
		{"GET", "//../%2e%2e/", "%", "a/b;c", "\xff", "\n"},
		{"OPTIONS", "*", "", "", "", ""},
	} {
		f.Add(s.method, s.path, s.query, s.contentType, s.body, s.key)
	}
	shared := newFuzzBench(f)
	f.Fuzz(func(t *testing.T, method, path, query, contentType, body, key string) {
		b := shared.of(t)
		path = strings.NewReplacer("VPS", b.vps.ID.String(), "BKP", b.fuzzed.String()).Replace(path)
		u, err := url.ParseRequestURI("http://example.com" + path)
		if err != nil || !validMethod(method) {
			return // net/http does not let it in
		}
		u.RawQuery = query
		r, err := http.NewRequestWithContext(b.ctx(), method, "http://example.com/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL = u
		r.Header = http.Header{"Authorization": {"Bearer " + b.full}}
		if contentType != "" {
			r.Header["Content-Type"] = []string{contentType}
		}
		if key != "" {
			r.Header["Idempotency-Key"] = []string{key}
		}
		if a := b.send(r); a.status == http.StatusInternalServerError {
			t.Errorf("%s %s: %s\n%s", method, path, a.raw, b.logged)
		}
	})
}

func validMethod(m string) bool {
	return m != "" && !strings.ContainsFunc(m, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// newFuzzBench makes one bench for all inputs of a fuzzing process.
func newFuzzBench(f *testing.F) *bench {
	b := newBench(f, rate(60_000_000, 1_000_000))
	b.fuzzed = b.insertBackup(b.vps).ID
	return b
}

// of is the bench, reporting to t.
func (b *bench) of(t *testing.T) *bench {
	return &bench{
		t: t, store: b.store, control: b.control, handler: b.handler, logged: b.logged, spec: b.spec,
		seeds: b.seeds, fuzzed: b.fuzzed,
	}
}
