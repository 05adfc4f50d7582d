package s3_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"holdfast/vault/blob"
	"holdfast/vault/blob/blobtest"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
)

func open(t testing.TB, c s3.Config) *s3.Storage {
	t.Helper()
	st, err := s3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestConformance(t *testing.T) {
	gateway := s3test.Gateway(t)
	for _, kind := range []struct {
		name   string
		server *s3test.Server
		change func(*s3.Config)
		lock   bool
	}{
		{"gofakes3", s3test.Fake(t), func(*s3.Config) {}, false},
		{"versitygw", gateway, func(*s3.Config) {}, false},
		{"versitygw, parts", gateway, func(c *s3.Config) { c.Single, c.Part = 5<<20, 5<<20 }, false},
		{"versitygw, versions", gateway, func(c *s3.Config) { c.Versions = true }, true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			var n atomic.Int32
			blobtest.Run(t, func(t *testing.T) blob.Storage {
				c := kind.server.Bucket(t, fmt.Sprintf("%s-%d", bucketName(kind.name), n.Add(1)), kind.lock)
				c.Prefix = "some/Place"
				kind.change(&c)
				st := open(t, c)
				if c.Single != 0 {
					if err := st.Probe(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				return st
			})
		})
	}
}

func bucketName(s string) string {
	var b []byte
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b = append(b, c)
		}
	}
	return string(b)
}

func put(t testing.TB, st blob.Storage, name string, data []byte) {
	t.Helper()
	if err := st.PutNew(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
}

func names(ctx context.Context, t testing.TB, st blob.Storage, prefix string) (all []string) {
	t.Helper()
	for info, err := range st.List(ctx, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Name)
	}
	return all
}

func newReader(s string) io.Reader { return strings.NewReader(s) }
