package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
)

// behind opens a new bucket through a proxy.
func behind(t testing.TB, server *s3test.Server, bucket string, change func(*s3.Config)) (*s3.Storage, *s3test.Proxy) {
	t.Helper()
	proxy := s3test.NewProxy(t, server)
	c := server.Bucket(t, bucket, false)
	c.Endpoint, c.Attempts, c.Stall = proxy.URL, 4, 20*time.Second
	if change != nil {
		change(&c)
	}
	return open(t, c), proxy
}

type handler = func(w http.ResponseWriter, r *http.Request, pass http.Handler)

// once does it to the first request of a method whose URI holds part.
func once(method, part string, do handler) handler {
	var done atomic.Bool
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method == method && strings.Contains(r.URL.RequestURI(), part) && done.CompareAndSwap(false, true) {
			do(w, r, pass)
			return
		}
		pass.ServeHTTP(w, r)
	}
}

func lose(_ http.ResponseWriter, r *http.Request, pass http.Handler) { s3test.LoseAnswer(r, pass) }

// storm refuses the first n requests after each success.
func storm(n int32, status int, code string) handler {
	var count atomic.Int32
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if count.Add(1)%(n+1) != 0 {
			s3test.Refuse(w, r, status, code)
			return
		}
		pass.ServeHTTP(w, r)
	}
}

func TestStorms(t *testing.T) {
	st, proxy := behind(t, s3test.Gateway(t), "storms", nil)
	for _, c := range []struct {
		status int
		code   string
	}{{503, "SlowDown"}, {400, "BadRequest"}, {500, "InternalError"}, {502, ""}, {429, "TooManyRequests"}, {409, "ConditionalRequestConflict"}} {
		proxy.Handle(storm(2, c.status, c.code))
		name := fmt.Sprintf("storm/%d", c.status)
		put(t, st, name, []byte("data"))
		if c.status != http.StatusServiceUnavailable {
			continue // the others differ in how they are told, not in what is done
		}
		if got, err := st.Get(t.Context(), name, 10); err != nil || string(got) != "data" {
			t.Errorf("%d: get = %q, %v", c.status, got, err)
		}
		if err := st.ReadAt(t.Context(), name, make([]byte, 2), 1); err != nil {
			t.Errorf("%d: %v", c.status, err)
		}
		if found := names(t.Context(), t, st, "storm/"); len(found) != 1 {
			t.Errorf("%d: list = %v", c.status, found)
		}
		if err := st.Delete(t.Context(), name); err != nil {
			t.Errorf("%d: %v", c.status, err)
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	st, proxy := behind(t, s3test.Fake(t), "bounded", nil)
	proxy.Handle(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { s3test.Refuse(w, r, 503, "SlowDown") })
	err := st.PutNew(t.Context(), "a", []byte("x"))
	e, ok := errors.AsType[*s3.Error](err)
	if !ok || e.Status != 503 || e.Code != "SlowDown" || e.Attempts != 4 {
		t.Fatalf("error: %#v", err)
	}
	if again, after := e.Retryable(); !again || after <= 0 {
		t.Errorf("retryable: %v %v", again, after)
	}
	if n := len(proxy.Seen()); n != 4 {
		t.Errorf("%d requests", n)
	}
	proxy.Handle(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { s3test.Refuse(w, r, 403, "AccessDenied") })
	err = st.PutNew(t.Context(), "a", []byte("x"))
	if e, ok = errors.AsType[*s3.Error](err); !ok || e.Attempts != 1 {
		t.Fatalf("error: %v", err)
	}
	if again, _ := e.Retryable(); again {
		t.Error("what is forbidden is called retryable")
	}
}

// Within a retry, too, the caller's context rules.
func TestContextEndsRetries(t *testing.T) {
	st, proxy := behind(t, s3test.Fake(t), "ends", func(c *s3.Config) { c.Attempts = 1000 })
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int32
	proxy.Handle(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if n.Add(1) == 1 {
			time.AfterFunc(300*time.Millisecond, cancel)
		}
		w.Header().Set("Retry-After", "9")
		s3test.Refuse(w, r, 503, "SlowDown")
	})
	start := time.Now()
	if err := st.PutNew(ctx, "a", []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second { // within a pause of 9 s
		t.Errorf("took %s", took)
	}
}

// A server that takes a request and says nothing is given up, and asked again.
func TestStall(t *testing.T) {
	st, proxy := behind(t, s3test.Fake(t), "stall", func(c *s3.Config) { c.Stall = 200 * time.Millisecond })
	put(t, st, "a", []byte("x"))
	proxy.Handle(once("GET", "a", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }))
	if got, err := st.Get(t.Context(), "a", 10); err != nil || string(got) != "x" {
		t.Errorf("get = %q, %v", got, err)
	}
	// Half an answer, too.
	proxy.Handle(once("GET", "a", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		_, _ = w.Write([]byte("half"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	if got, err := st.Get(t.Context(), "a", 100); err != nil || string(got) != "x" {
		t.Errorf("get = %q, %v", got, err)
	}
}

func TestLostAnswers(t *testing.T) {
	gateway := s3test.Gateway(t)
	for _, kind := range []struct {
		name   string
		server *s3test.Server
		change func(*s3.Config)
	}{
		{"fake", s3test.Fake(t), nil},
		{"gateway", gateway, nil},
		{"gatewayparts", gateway, func(c *s3.Config) { c.Single, c.Part = 5<<20, 5<<20 }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			st, proxy := behind(t, kind.server, "lost-"+kind.name, kind.change)
			method, part, data := "PUT", "/packs/", []byte("mine")
			if kind.change != nil {
				if err := st.Probe(t.Context()); err != nil {
					t.Fatal(err)
				}
				method, part, data = "POST", "uploadId=", bytes.Repeat([]byte("mine"), 3<<20)
			}
			proxy.Handle(once(method, part, lose))
			if err := st.PutNew(t.Context(), "packs/a", data); err != nil {
				t.Errorf("a put whose answer was lost: %v", err)
			}
			if err := st.PutNew(t.Context(), "packs/a", data); !errors.Is(err, blob.ErrExists) {
				t.Errorf("the same bytes put again by another call: %v", err)
			}
			// The request is lost, and another writer comes first, with the same bytes.
			other := open(t, withEndpoint(t, kind.server, "lost-"+kind.name))
			proxy.Handle(once(method, part, func(http.ResponseWriter, *http.Request, http.Handler) {
				put(t, other, "packs/b", data)
				panic(http.ErrAbortHandler)
			}))
			if err := st.PutNew(t.Context(), "packs/b", data); !errors.Is(err, blob.ErrExists) {
				t.Errorf("a name that another writer took: %v", err)
			}
			if kind.change != nil && !strings.Contains(strings.Join(proxy.Seen(), "\n"), "uploadId=") {
				t.Error("nothing went in parts")
			}
			proxy.Handle(once("DELETE", "packs/a", lose))
			if err := st.Delete(t.Context(), "packs/a"); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
	}
}

func withEndpoint(t testing.TB, s *s3test.Server, bucket string) s3.Config {
	t.Helper()
	return s3.Config{Endpoint: s.Endpoint, Bucket: bucket, PathStyle: true, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey()}
}

// A server that drops metadata leaves the bytes to tell whose they are.
func TestLostAnswerWithoutTag(t *testing.T) {
	st, proxy := behind(t, s3test.Fake(t), "tagless", nil)
	strip := func(next handler) handler {
		return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			r.Header.Del("X-Amz-Meta-Holdfast-Put")
			next(w, r, pass)
		}
	}
	proxy.Handle(strip(once("PUT", "/a", lose)))
	if err := st.PutNew(t.Context(), "a", []byte("mine")); err != nil {
		t.Errorf("put: %v", err)
	}
	if err := st.PutNew(t.Context(), "a", []byte("none of it")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("other bytes: %v", err)
	}
}

// When nobody can say whose the blob is, the error is none that promises.
func TestUnsettled(t *testing.T) {
	st, proxy := behind(t, s3test.Fake(t), "unsettled", nil)
	first := once("PUT", "/a", lose)
	proxy.Handle(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method == "GET" {
			s3test.Refuse(w, r, 403, "AccessDenied")
			return
		}
		first(w, r, pass)
	})
	err := st.PutNew(t.Context(), "a", []byte("x"))
	if err == nil || errors.Is(err, blob.ErrExists) {
		t.Errorf("put: %v", err)
	}
}

func TestNoSpace(t *testing.T) {
	st, proxy := behind(t, s3test.Fake(t), "full", nil)
	put(t, st, "a", []byte("x"))
	for _, c := range []struct {
		status int
		code   string
	}{{507, ""}, {507, "XMinioStorageFull"}, {403, "QuotaExceeded"}, {403, "XMinioAdminBucketQuotaExceeded"}} {
		proxy.Handle(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			if r.Method == "PUT" {
				s3test.Refuse(w, r, c.status, c.code)
				return
			}
			pass.ServeHTTP(w, r)
		})
		if err := st.PutNew(t.Context(), "b", []byte("x")); !errors.Is(err, blob.ErrNoSpace) {
			t.Errorf("%d %s: %v", c.status, c.code, err)
		}
		if n := len(proxy.Seen()); n > 3 {
			t.Errorf("%d %s: tried %d times", c.status, c.code, n)
		}
	}
	if err := st.Delete(t.Context(), "a"); err != nil {
		t.Errorf("delete on a full place: %v", err)
	}
}

// A missing bucket is a mistake, not an empty vault.
func TestMissingBucket(t *testing.T) {
	for _, server := range []*s3test.Server{s3test.Fake(t), s3test.Gateway(t)} {
		st := open(t, withEndpoint(t, server, "nobody-made-it"))
		_, serr := st.Stat(t.Context(), "vault.json")
		_, gerr := st.Get(t.Context(), "vault.json", 10)
		var lerr error
		for _, err := range st.List(t.Context(), "") {
			lerr = err
		}
		for i, err := range []error{serr, gerr, lerr, st.PutNew(t.Context(), "a", nil)} {
			if err == nil || errors.Is(err, blob.ErrNotFound) {
				t.Errorf("call %d: %v", i, err)
			}
		}
	}
}

func TestRealFullDisk(t *testing.T) {
	server := s3test.FullGateway(t)
	st := open(t, server.Bucket(t, "small", false))
	put(t, st, "keep/a", make([]byte, 1<<20))
	if err := st.PutNew(t.Context(), "packs/big", make([]byte, 8<<20)); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("put on a full disk: %v", err)
	}
	if err := st.Delete(t.Context(), "keep/a"); err != nil {
		t.Errorf("delete: %v", err)
	}
	put(t, st, "tombstones/a", nil)
}
