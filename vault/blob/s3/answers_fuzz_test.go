package s3

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"holdfast/vault/blob"
)

// The server is hostile, or somebody who took its address: whatever it answers,
// names are those of blobs below the prefix, in order; bytes are as many as were
// asked for; and what is said about it is short and safe to print.
func FuzzAnswers(f *testing.F) {
	head := "<LastModified>2026-01-02T03:04:05.000Z</LastModified>"
	for _, s := range []string{
		"<ListBucketResult><Contents><Key>p/a</Key><Size>3</Size>" + head + "</Contents><Contents><Key>p/b</Key><Size>3</Size>" + head + "</Contents></ListBucketResult>",
		"<ListVersionsResult><Version><Key>p/a</Key><VersionId>2</VersionId><Size>3</Size>" + head + "</Version><DeleteMarker><Key>p/a</Key><VersionId>1</VersionId>" + head + "</DeleteMarker></ListVersionsResult>",
		"<ListMultipartUploadsResult><Upload><Key>p/a</Key><UploadId>1</UploadId><Initiated>2020-01-02T03:04:05.000Z</Initiated></Upload></ListMultipartUploadsResult>",
		"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
		"<ObjectLockRetention><Mode>COMPLIANCE</Mode><RetainUntilDate>2030-01-01T00:00:00.123Z</RetainUntilDate></ObjectLockRetention>",
		"<Error><Code>SlowDown</Code><Message>\x1b[2J</Message></Error>", "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>", "0123456789",
	} {
		f.Add(uint16(0), "bytes 2-5/10", "1", []byte(s))
	}
	f.Add(uint16(6), "bytes 2-5/10", "", []byte("2345"))
	f.Add(uint16(204), "", "9", []byte("<Error><Code>NoSuchKey</Code></Error>"))
	f.Add(uint16(303), "", "x", []byte("<Error><Code>SlowDown</Code></Error>"))
	var answer atomic.Pointer[http.HandlerFunc]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) }))
	f.Cleanup(server.Close)
	plain := fuzzed(f, server.URL, false)
	versioned := fuzzed(f, server.URL, true)
	f.Fuzz(func(t *testing.T, status uint16, contentRange, version string, body []byte) {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
			if contentRange != "" {
				w.Header().Set("Content-Range", contentRange)
			}
			w.Header().Set("X-Amz-Version-Id", version)
			w.Header().Set("Retry-After", version)
			w.WriteHeader(200 + int(status)%400)
			_, _ = w.Write(body) // a client that is gone needs no answer
		})
		answer.Store(&h)
		for _, s := range []*Storage{plain, versioned} {
			checkAnswers(t, s)
		}
	})
}

func fuzzed(f *testing.F, url string, versions bool) *Storage {
	f.Helper()
	c := Config{Endpoint: url, Bucket: "hostile", PathStyle: true, Attempts: 1, Stall: 5 * time.Second, AccessKey: "a", SecretKey: NewSecret("topsecret")}
	if versions {
		c.Lock = &Lock{For: time.Hour}
	}
	s, err := New(c)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func checkAnswers(t *testing.T, s *Storage) {
	ctx := t.Context()
	last, n := "", 0
	said := func(err error) {
		if err == nil {
			return
		}
		if text := err.Error(); len(text) > 4000 || strings.Contains(text, "topsecret") || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) && r < 0x80 }) {
			t.Errorf("error %q", text)
		}
	}
	for info, err := range s.List(ctx, "p/") {
		said(err)
		if n++; err == nil && (blob.CheckName(info.Name) != nil || !strings.HasPrefix(info.Name, "p/") || info.Name <= last || info.Size < 0) {
			t.Errorf("listed %+v after %q", info, last)
		}
		last = info.Name
	}
	data, err := s.Get(ctx, "p/a", 8)
	said(err)
	if len(data) > 8 {
		t.Errorf("%d bytes", len(data))
	}
	said(s.ReadAt(ctx, "p/a", make([]byte, 4), 2))
	info, err := s.Stat(ctx, "p/a")
	said(err)
	if info.Size < 0 {
		t.Errorf("size %d", info.Size)
	}
	said(s.PutNew(ctx, "p/b", []byte("x")))
	_, err = s.RetainedUntil(ctx, "p/a")
	said(err)
	_, err = s.Sweep(ctx)
	said(err)
	said(s.Delete(ctx, "p/a"))
}
