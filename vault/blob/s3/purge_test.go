package s3_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
	"holdfast/vault/blob/s3/s3test"
)

// Keys that were rotated, deleted or covered by a marker are gone for good, with
// every version; another vault's beside them are not.
func TestPurge(t *testing.T) {
	gateway := s3test.Gateway(t)
	for _, kind := range []struct {
		name     string
		server   *s3test.Server
		versions bool // the bucket keeps them
		told     bool // the configuration says so
	}{
		{"gofakes3", s3test.Fake(t), false, false},
		{"versitygw", gateway, false, false},
		{"versitygw, versions", gateway, true, true},
		{"versitygw, versions unknown", gateway, true, false},
	} {
		t.Run(kind.name, func(t *testing.T) {
			bucket := map[bool]string{true: "purge-told", false: "purge"}[kind.told]
			if kind.versions {
				bucket += "-versions"
			}
			c := kind.server.Bucket(t, bucket, kind.versions)
			c.Versions = kind.told
			site := open(t, c)
			st, err := site.Under("a")
			if err != nil {
				t.Fatal(err)
			}
			other, err := site.Under("a2")
			if err != nil {
				t.Fatal(err)
			}
			put(t, st, "keys/ring-00000001", []byte("old"))
			put(t, st, "keys/ring-00000002", []byte("new"))
			put(t, st, "packs/p", []byte("data"))
			put(t, other, "keys/ring-00000001", []byte("another's"))
			raw := attacker(t, kind.server)
			for _, name := range []string{"a/keys/ring-00000001", "a/keys/.hidden", "a/keys/ring-00000002"} {
				if _, err := raw.PutObject(t.Context(), bucket, name, bytes.NewReader([]byte("over")), 4, minio.PutObjectOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := raw.RemoveObject(t.Context(), bucket, "a/keys/ring-00000002", minio.RemoveObjectOptions{}); err != nil {
				t.Fatal(err)
			}
			removed, err := st.Purge(t.Context(), "keys/")
			if err != nil || removed < 2 || kind.versions && removed != 6 {
				t.Errorf("removed %d: %v", removed, err)
			}
			left := 0
			for o := range raw.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Prefix: "a/", Recursive: true, WithVersions: kind.versions}) {
				if o.Err != nil {
					t.Fatal(o.Err)
				}
				left++
				if o.Key != "a/packs/p" {
					t.Errorf("left: %s %s", o.Key, o.VersionID)
				}
			}
			if _, err := other.Stat(t.Context(), "keys/ring-00000001"); err != nil || left != 1 {
				t.Errorf("another's: %v; left: %d", err, left)
			}
			if removed, err := st.Purge(t.Context(), "keys/"); err != nil || removed != 0 {
				t.Errorf("again: %d, %v", removed, err)
			}
		})
	}
}

// A bucket whose own rule locks everything is told of, not passed over.
func TestPurgeOfLockedKeys(t *testing.T) {
	st := locked(t, s3test.Gateway(t), "purge-locked", time.Hour)
	put(t, st, "packs/a", []byte("kept")) // locked by us, as keys would be by such a rule
	if _, err := st.Purge(t.Context(), "packs/"); !errors.Is(err, blob.ErrRetained) {
		t.Errorf("purge: %v", err)
	}
}
