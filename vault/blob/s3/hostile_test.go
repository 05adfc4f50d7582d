package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
)

// hostile opens a storage on a server that answers as it likes: one that was
// taken over, or somebody's who took its address.
func hostile(t *testing.T, answer http.HandlerFunc) *s3.Storage {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return open(t, s3.Config{Endpoint: server.URL, Bucket: "hostile", PathStyle: true, Attempts: 2, Stall: 5 * time.Second, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey()})
}

// object answers with headers and a body that need not fit.
func object(status int, headers map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		if n := headers["Content-Length"]; n != "" && n != fmt.Sprint(len(body)) {
			panic(http.ErrAbortHandler)
		}
	}
}

func TestHostileBlobs(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  int
		headers map[string]string
		body    string
	}{
		{"short", 206, map[string]string{"Content-Range": "bytes 2-5/10", "Content-Length": "4"}, "ab"},
		{"shorter range", 206, map[string]string{"Content-Range": "bytes 2-3/10"}, "ab"},
		{"longer range", 206, map[string]string{"Content-Range": "bytes 2-8/10"}, "abcdefg"},
		{"another range", 206, map[string]string{"Content-Range": "bytes 0-3/10"}, "abcd"},
		{"length against range", 206, map[string]string{"Content-Range": "bytes 2-5/10", "Content-Length": "2"}, "ab"},
		{"nonsense range", 206, map[string]string{"Content-Range": "bytes -9223372036854775808-5/1"}, "abcd"},
		{"size below range", 206, map[string]string{"Content-Range": "bytes 2-5/3"}, "abcd"},
		{"whole for a range", 200, nil, "0123456789"},
		{"length of nonsense", 206, map[string]string{"Content-Range": "bytes 2-5/10", "Content-Length": "-4"}, ""},
		{"no body", 204, nil, ""},
		{"error of nonsense", 400, nil, strings.Repeat("<", 1<<20)},
		{"endless error", 403, nil, "<Error>" + strings.Repeat("<Code>", 1<<20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := hostile(t, object(c.status, c.headers, c.body))
			err := st.ReadAt(t.Context(), "a", make([]byte, 4), 2)
			if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, blob.ErrNotFound) {
				t.Errorf("read: %v", err)
			}
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// What is promised larger than allowed is not even begun to be read.
func TestHostileLength(t *testing.T) {
	st := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", fmt.Sprint(1<<50))
		w.WriteHeader(http.StatusOK)
		for range 64 {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	if _, err := st.Get(t.Context(), "a", 1000); !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("get: %v", err)
	}
	chunked := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		for range 10 {
			_, _ = w.Write(make([]byte, 1<<16))
			_ = http.NewResponseController(w).Flush()
		}
	})
	if _, err := chunked.Get(t.Context(), "a", 1<<20); err == nil {
		t.Error("a body without a length was taken")
	}
}

// The signed request, and the data, go nowhere else than configured.
func TestRedirectIsRefused(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		w.WriteHeader(http.StatusOK)
	}))
	defer other.Close()
	var here atomic.Int32
	st := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		here.Add(1)
		w.Header().Set("X-Amz-Bucket-Region", "eu-west-9")
		http.Redirect(w, r, other.URL+"/hostile/a", http.StatusTemporaryRedirect)
	})
	for i, err := range []error{
		st.PutNew(t.Context(), "a", []byte("x")), st.ReadAt(t.Context(), "a", make([]byte, 1), 0), st.Delete(t.Context(), "a"),
	} {
		if err == nil || !strings.Contains(err.Error(), "elsewhere") || !strings.Contains(err.Error(), "eu-west-9") {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if elsewhere.Load() != 0 || here.Load() != 3 {
		t.Errorf("%d requests elsewhere, %d here", elsewhere.Load(), here.Load())
	}
}

func page(keys []string, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<ListBucketResult><Name>hostile</Name><IsTruncated>%t</IsTruncated><NextContinuationToken>%s</NextContinuationToken>", more != "", more)
	for _, k := range keys {
		fmt.Fprintf(&b, "<Contents><Key>%s</Key><Size>3</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>", k)
	}
	b.WriteString("</ListBucketResult>")
	return b.String()
}

func TestHostileLists(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"the same page for ever":  object(200, nil, page([]string{"p/a", "p/b"}, "next")),
		"empty pages for ever":    object(200, nil, page(nil, "next")),
		"more, but not where":     object(200, nil, strings.Replace(page([]string{"p/a"}, "x"), ">x<", "><", 1)),
		"backwards":               object(200, nil, page([]string{"p/b", "p/a"}, "")),
		"twice":                   object(200, nil, page([]string{"p/a", "p/a"}, "")),
		"names outside":           object(200, nil, page([]string{"p/a", "q/b"}, "")),
		"a size below zero":       object(200, nil, strings.Replace(page([]string{"p/a"}, ""), ">3<", ">-3<", 1)),
		"no XML":                  object(200, nil, "hello"),
		"an answer without end":   object(200, nil, "<ListBucketResult>"+strings.Repeat("<x>"+strings.Repeat("y", 1000)+"</x>", 10_000)+"</ListBucketResult>"),
		"a name of many megabyte": object(200, nil, page([]string{"p/" + strings.Repeat("a", 9<<20)}, "")),
	} {
		t.Run(name, func(t *testing.T) {
			st := hostile(t, answer)
			var last error
			n := 0
			for _, err := range st.List(t.Context(), "p/") {
				n++
				last = err
			}
			if last == nil || n > 100 {
				t.Errorf("%d names, then %v", n, last)
			}
		})
	}
	// What others keep in the bucket is no blob.
	st := hostile(t, object(200, nil, page([]string{"p/..", "p/Upper", "p/a"}, "")))
	if got := names(t.Context(), t, st, "p/"); len(got) != 1 || got[0] != "p/a" {
		t.Errorf("list = %v", got)
	}
}

// Text of the server reaches logs and terminals: no escape sequence, and not much of it.
func TestHostileText(t *testing.T) {
	st := hostile(t, object(400, nil, "<Error><Code>\x1b[2Jcode"+strings.Repeat("c", 5000)+"</Code><Message>&#27;[31m\nmessage</Message></Error>"))
	err := st.PutNew(t.Context(), "a", nil)
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 1000 {
		t.Errorf("error: %q", err)
	}
}
