package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
)

func TestProbeAcceptsGoodServers(t *testing.T) {
	gateway := s3test.Gateway(t)
	for name, c := range map[string]s3.Config{
		"fake":     s3test.Fake(t).Bucket(t, "good", false),
		"gateway":  gateway.Bucket(t, "good", false),
		"versions": gateway.Bucket(t, "good-versions", true),
	} {
		st := open(t, c)
		if err := st.Probe(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left := names(t.Context(), t, st, ""); len(left) != 0 {
			t.Errorf("%s: the probe left %v", name, left)
		}
	}
}

// lateWriter is a server that looks first and writes later.
func lateWriter(next http.Handler) handler {
	var mu sync.Mutex
	there := map[string]bool{}
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.Method != http.MethodPut || r.Header.Get("If-None-Match") == "" {
			if r.Method == http.MethodDelete {
				mu.Lock()
				delete(there, r.URL.Path)
				mu.Unlock()
			}
			next.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		taken := there[r.URL.Path]
		mu.Unlock()
		body, _ := io.ReadAll(r.Body) // the time between look and write
		if strings.Contains(r.URL.Path, "race") {
			<-time.After(50 * time.Millisecond)
		}
		if taken {
			s3test.Refuse(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
			return
		}
		mu.Lock()
		there[r.URL.Path] = true
		mu.Unlock()
		r.Header.Del("If-None-Match")
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	}
}

func TestProbeRefusesOthers(t *testing.T) {
	for name, c := range map[string]struct {
		handle func(pass http.Handler) handler
		says   string
	}{
		"replaces": {func(http.Handler) handler {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				r.Header.Del("If-None-Match")
				pass.ServeHTTP(w, r)
			}
		}, "replaces"},
		"looks, then writes": {lateWriter, "same time"},
		"forgets to list": {func(http.Handler) handler {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.URL.Query().Get("list-type") != "" {
					_, _ = io.WriteString(w, page(nil, ""))
					return
				}
				pass.ServeHTTP(w, r)
			}
		}, "does not show"},
		"lists from the start": {func(http.Handler) handler {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				q := r.URL.Query()
				q.Del("start-after")
				r.URL.RawQuery = q.Encode()
				pass.ServeHTTP(w, r)
			}
		}, "comes after"},
		"does not delete": {func(http.Handler) handler {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.Method == http.MethodDelete {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				pass.ServeHTTP(w, r)
			}
		}, "still there"},
		"stale reads": {func(http.Handler) handler {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/bytes") {
					s3test.Refuse(w, r, http.StatusNotFound, "NoSuchKey")
					return
				}
				pass.ServeHTTP(w, r)
			}
		}, "just written"},
		"ignores ranges": {func(http.Handler) handler {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				r.Header.Del("Range")
				pass.ServeHTTP(w, r)
			}
		}, "whole blob"},
	} {
		t.Run(name, func(t *testing.T) {
			server := s3test.Fake(t)
			st, proxy := behind(t, server, "refused", func(c *s3.Config) { c.Attempts = 2 })
			proxy.Handle(c.handle(reverse(t, server)))
			err := st.Probe(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("probe: %v", err)
			}
		})
	}
}

func reverse(t *testing.T, server *s3test.Server) http.Handler {
	t.Helper()
	proxy := s3test.NewProxy(t, server)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.RequestURI = ""
		out.URL.Scheme, out.URL.Host = "http", strings.TrimPrefix(proxy.URL, "http://")
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})
}

// A bucket that keeps versions frees nothing by plain deletes, and one that keeps none cannot lock.
func TestProbeFindsVersions(t *testing.T) {
	gateway := s3test.Gateway(t)
	c := gateway.Bucket(t, "versioned", true)
	c.Versions = false
	if err := open(t, c).Probe(t.Context()); !errors.Is(err, s3.ErrUnsuitable) || !strings.Contains(err.Error(), "keeps versions") {
		t.Errorf("versions that nobody spoke of: %v", err)
	}
	c = gateway.Bucket(t, "plain", false)
	c.Lock = &s3.Lock{For: time.Hour}
	if err := open(t, c).Probe(t.Context()); !errors.Is(err, s3.ErrUnsuitable) {
		t.Errorf("a lock without versions: %v", err)
	}
}

// A probe whose context ended tidies up nevertheless; what its last requests
// still wrote after that, the next one removes.
func TestProbeTidiesUp(t *testing.T) {
	server := s3test.Fake(t)
	st, proxy := behind(t, server, "tidy", nil)
	ctx, cancel := context.WithCancel(t.Context())
	proxy.Handle(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		pass.ServeHTTP(w, r)
		// Only after it took effect: what is still on its way when the probe
		// gives up may arrive after the tidying.
		if strings.Contains(r.URL.Path, "/bytes") {
			cancel()
		}
	})
	if err := st.Probe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("probe: %v", err)
	}
	proxy.Handle(nil)
	if err := st.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := names(t.Context(), t, st, ""); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
