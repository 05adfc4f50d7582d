package s3_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
)

// aged makes the uploads of a server look as if they had begun in 2020.
func aged(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	if r.Method != http.MethodGet || !r.URL.Query().Has("uploads") {
		pass.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	pass.ServeHTTP(rec, r)
	text := rec.Body.String()
	for {
		at := strings.Index(text, "<Initiated>")
		if at < 0 {
			break
		}
		end := strings.Index(text, "</Initiated>")
		text = text[:at] + "<Begun>2020-01-02T03:04:05.000Z</Begun>" + text[end+len("</Initiated>"):]
	}
	text = strings.NewReplacer("<Begun>", "<Initiated>", "</Begun>", "</Initiated>").Replace(text)
	w.Header().Set("Content-Type", "application/xml")
	_, _ = w.Write([]byte(text)) // a client that is gone needs no answer
}

// What killed writers leave is swept when it is old, below the own prefix only.
func TestSweep(t *testing.T) {
	server := s3test.Gateway(t)
	proxy := s3test.NewProxy(t, server)
	c := server.Bucket(t, "leftovers", false)
	c.Endpoint, c.Prefix = proxy.URL, "mine"
	st := open(t, c)
	client := minio.Core{Client: attacker(t, server)}
	begin := func(key string) {
		t.Helper()
		id, err := client.NewMultipartUpload(t.Context(), "leftovers", key, minio.PutObjectOptions{})
		if err == nil {
			_, err = client.PutObjectPart(t.Context(), "leftovers", key, id, 1, bytes.NewReader(make([]byte, 5<<20)), 5<<20, minio.PutObjectPartOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	begin("mine/packs/s/d1")
	begin("mine/packs/s/d1")
	begin("mine/index/s/1")
	begin("mines/packs/s/d1") // a neighbour's
	left := func() int {
		r, err := client.ListMultipartUploads(t.Context(), "leftovers", "", "", "", "", 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Uploads)
	}
	if n, err := blob.Sweep(t.Context(), st); n != 0 || err != nil || left() != 4 {
		t.Errorf("young ones: %d swept, %d left, %v", n, left(), err)
	}
	proxy.Handle(aged)
	if n, err := blob.Sweep(t.Context(), st); n != 3 || err != nil || left() != 1 {
		t.Errorf("old ones: %d swept, %d left, %v", n, left(), err)
	}
	proxy.Handle(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { s3test.Refuse(w, r, 403, "AccessDenied") })
	if n, err := blob.Sweep(t.Context(), st); n != 0 || err != nil {
		t.Errorf("without the right: %d, %v", n, err)
	}
}

// A list of uploads that leads elsewhere or never ends sweeps nothing.
func TestHostileUploads(t *testing.T) {
	upload := func(key string) string {
		return "<Upload><Key>" + key + "</Key><UploadId>1</UploadId><Initiated>2020-01-02T03:04:05.000Z</Initiated></Upload>"
	}
	for name, text := range map[string]string{
		"elsewhere": "<ListMultipartUploadsResult>" + upload("other/packs/a") + "</ListMultipartUploadsResult>",
		"for ever": "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>mine/a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>" +
			upload("mine/a") + "</ListMultipartUploadsResult>",
	} {
		t.Run(name, func(t *testing.T) {
			var ended atomic.Int32
			st := hostile(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodDelete {
					ended.Add(1)
				}
				object(200, nil, text)(w, r)
			})
			below, err := st.Under("mine")
			if err != nil {
				t.Fatal(err)
			}
			if n, err := below.Sweep(t.Context()); err == nil || n != 0 || ended.Load() != 0 {
				t.Errorf("%d swept, %d ended, %v", n, ended.Load(), err)
			}
		})
	}
}

// A writer whose upload is swept under it writes the blob anew, whether it was at
// the parts or at the end.
func TestUploadSweptUnderAWriter(t *testing.T) {
	server := s3test.Gateway(t)
	for _, kind := range []struct{ method, part string }{{"PUT", "partNumber=2"}, {"POST", "uploadId="}} {
		t.Run(kind.method, func(t *testing.T) {
			st, proxy := behind(t, server, "swept-"+strings.ToLower(kind.method), func(c *s3.Config) { c.Single, c.Part = 5<<20, 5<<20 })
			if err := st.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			client := minio.Core{Client: attacker(t, server)}
			proxy.Handle(once(kind.method, kind.part, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				key := strings.TrimPrefix(r.URL.Path, "/swept-"+strings.ToLower(kind.method)+"/")
				if err := client.AbortMultipartUpload(t.Context(), "swept-"+strings.ToLower(kind.method), key, r.URL.Query().Get("uploadId")); err != nil {
					t.Error(err)
				}
				pass.ServeHTTP(w, r)
			}))
			data := noise(11<<20, 1)
			if err := st.PutNew(t.Context(), "packs/a", data); err != nil {
				t.Fatal(err)
			}
			if got, err := st.Get(t.Context(), "packs/a", 11<<20); err != nil || !bytes.Equal(got, data) {
				t.Errorf("get: %d bytes, %v", len(got), err)
			}
		})
	}
}
