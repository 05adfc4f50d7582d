package s3_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/vault/blob"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
)

// attacker has the site's keys and speaks S3 itself.
func attacker(t *testing.T, server *s3test.Server) *minio.Client {
	t.Helper()
	secret := s3test.SecretKey()
	// No connection is used twice: this one's requests are refused with bodies
	// unread, and the server would take the rest of a body for a request.
	once := &http.Transport{DisableKeepAlives: true}
	c, err := minio.New(server.Endpoint[len("http://"):], &minio.Options{
		Transport: once,
		Creds:     credentials.NewStaticV4(s3test.AccessKey, secret.Reveal(), ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func locked(t *testing.T, server *s3test.Server, bucket string, keep time.Duration) *s3.Storage {
	t.Helper()
	c := server.Bucket(t, bucket, true)
	c.Lock = &s3.Lock{For: keep}
	return open(t, c)
}

func TestProbeOfLocks(t *testing.T) {
	st := locked(t, s3test.Gateway(t), "probelock", time.Hour)
	for range 2 { // what the first leaves does not trouble the second
		if err := st.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRetention(t *testing.T) {
	st := locked(t, s3test.Gateway(t), "retention", time.Hour)
	start := time.Now()
	put(t, st, "packs/a", []byte("kept"))
	until, err := st.RetainedUntil(t.Context(), "packs/a")
	if err != nil || until.Before(start.Add(time.Hour).Truncate(time.Second)) || until.After(start.Add(time.Hour+9*time.Minute)) {
		t.Fatalf("until %s, %v", until, err)
	}
	if err := st.Delete(t.Context(), "packs/a"); !errors.Is(err, blob.ErrRetained) {
		t.Errorf("delete: %v", err)
	}
	later := start.Add(3 * time.Hour)
	if err := st.Retain(t.Context(), "packs/a", later); err != nil {
		t.Fatal(err)
	}
	if err := st.Retain(t.Context(), "packs/a", start.Add(2*time.Hour)); err != nil { // does not shorten
		t.Fatal(err)
	}
	if until, err = st.RetainedUntil(t.Context(), "packs/a"); err != nil || until.Before(later) {
		t.Errorf("until %s, %v", until, err)
	}
	if err := st.Retain(t.Context(), "packs/none", later); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("retain of nothing: %v", err)
	}
	for _, name := range []string{"keys/account", "sessions/s-1", "tombstones/backup-1", "notices/s-1", "plans/00000001", "plans/00000001-done"} {
		put(t, st, name, []byte("x"))
		if until, err := st.RetainedUntil(t.Context(), name); err != nil || !until.IsZero() {
			t.Errorf("%s is locked until %s, %v", name, until, err)
		}
		if err := st.Retain(t.Context(), name, later); err == nil {
			t.Errorf("%s was retained", name)
		}
		if err := st.Delete(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if blob.AsRetainer(st) == nil {
		t.Error("no retainer")
	}
}

// A lock that is over no longer holds, and the name is free again.
func TestLockEnds(t *testing.T) {
	st := locked(t, s3test.Gateway(t), "ends", time.Second)
	put(t, st, "packs/a", []byte("1"))
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(200 * time.Millisecond) // the end of a lock is no event
	defer tick.Stop()
	for {
		err := st.Delete(t.Context(), "packs/a")
		if err == nil {
			break
		}
		if !errors.Is(err, blob.ErrRetained) {
			t.Fatal(err)
		}
		select {
		case <-deadline:
			t.Fatal("the lock does not end")
		case <-tick.C:
		}
	}
	put(t, st, "packs/a", []byte("2"))
}

// stolen are the site's keys in the hands of whoever speaks S3 himself.
type stolen struct {
	t      *testing.T
	client *minio.Client
	bucket string
}

// hide puts a delete marker over a blob.
func (s stolen) hide(name string) {
	s.t.Helper()
	if err := s.client.RemoveObject(s.t.Context(), s.bucket, name, minio.RemoveObjectOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// replace puts other bytes over a blob.
func (s stolen) replace(name string) {
	s.t.Helper()
	if _, err := s.client.PutObject(s.t.Context(), s.bucket, name, newReader("evil bytes"), 10, minio.PutObjectOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// Whoever stole the site's keys can put a delete marker or other bytes over a
// locked blob; neither hides it, from a process that knew it or one that did not.
// Each look is a process of its own, for a storage remembers what it saw; and
// nothing deletes in between, for that may clear the attack away.
func TestAttackerHidesNothing(t *testing.T) {
	server := s3test.Gateway(t)
	st := locked(t, server, "attacked", time.Hour)
	evil := stolen{t, attacker(t, server), "attacked"}
	all := []string{"backups/both", "backups/hidden", "backups/often", "backups/replaced"}
	for _, name := range all {
		put(t, st, name, []byte(name))
	}
	evil.hide("backups/hidden")
	evil.replace("backups/replaced")
	evil.replace("backups/both")
	evil.hide("backups/both")
	for range 20 {
		evil.replace("backups/often")
		evil.hide("backups/often")
	}
	c := withEndpoint(t, server, "attacked")
	c.Lock = &s3.Lock{For: time.Hour}
	fresh := func() *s3.Storage { return open(t, c) }
	old := func() *s3.Storage { return st }
	for who, storage := range map[string]func() *s3.Storage{"one that knew it": old, "a new one": fresh} {
		for _, name := range all {
			if data, err := storage().Get(t.Context(), name, 100); err != nil || string(data) != name {
				t.Errorf("%s: %s = %q, %v", who, name, data, err)
			}
			p := make([]byte, 3)
			if err := storage().ReadAt(t.Context(), name, p, 8); err != nil || string(p) != name[8:11] {
				t.Errorf("%s: %s at 8 = %q, %v", who, name, p, err)
			}
			if info, err := storage().Stat(t.Context(), name); err != nil || info.Size != int64(len(name)) {
				t.Errorf("%s: stat %s = %+v, %v", who, name, info, err)
			}
			if until, err := storage().RetainedUntil(t.Context(), name); err != nil || until.Before(time.Now().Add(time.Minute)) {
				t.Errorf("%s: %s is retained until %s, %v", who, name, until, err)
			}
			if err := storage().PutNew(t.Context(), name, []byte("again")); !errors.Is(err, blob.ErrExists) {
				t.Errorf("%s: put over %s: %v", who, name, err)
			}
		}
		listing := storage()
		for info, err := range listing.List(t.Context(), "backups/") {
			if err != nil || info.Size != int64(len(info.Name)) {
				t.Errorf("%s: listed %+v, %v", who, info, err)
			}
		}
		if got := names(t.Context(), t, listing, "backups/"); !slices.Equal(got, all) {
			t.Errorf("%s: list = %v", who, got)
		}
		// The list told it which versions are the blobs.
		if data, err := listing.Get(t.Context(), "backups/both", 100); err != nil || string(data) != "backups/both" {
			t.Errorf("%s: after a list: %q, %v", who, data, err)
		}
	}
	for _, name := range all {
		for range 2 {
			if err := fresh().Delete(t.Context(), name); !errors.Is(err, blob.ErrRetained) {
				t.Errorf("delete %s: %v", name, err)
			}
		}
		if data, err := fresh().Get(t.Context(), name, 100); err != nil || string(data) != name {
			t.Errorf("%s after a refused deletion = %q, %v", name, data, err)
		}
	}
}

// A date that is asked for under an attack is that of the blob, and an attacker's
// own lock on what he put over it is none of it.
func TestRetentionUnderAttack(t *testing.T) {
	server := s3test.Gateway(t)
	st := locked(t, server, "overlaid", time.Hour)
	evil := stolen{t, attacker(t, server), "overlaid"}
	put(t, st, "packs/a", []byte("kept"))
	evil.replace("packs/a")
	evil.hide("packs/a")
	later := time.Now().Add(5 * time.Hour)
	c := withEndpoint(t, server, "overlaid")
	c.Lock = &s3.Lock{For: time.Hour}
	if err := open(t, c).Retain(t.Context(), "packs/a", later); err != nil {
		t.Fatal(err)
	}
	if until, err := open(t, c).RetainedUntil(t.Context(), "packs/a"); err != nil || until.Before(later.Truncate(time.Second)) {
		t.Errorf("until %s, %v", until, err)
	}
	// A reader without a lock of its own, as recover is.
	c.Lock, c.Versions = nil, true
	if until, err := open(t, c).RetainedUntil(t.Context(), "packs/a"); err != nil || until.Before(later.Truncate(time.Second)) {
		t.Errorf("until %s, %v", until, err)
	}
	if err := open(t, c).Delete(t.Context(), "packs/a"); !errors.Is(err, blob.ErrRetained) {
		t.Errorf("delete without a lock of its own: %v", err)
	}
}

// What is retained from the start is so to the second, whatever the place's own
// retention.
func TestPutRetained(t *testing.T) {
	st := locked(t, s3test.Gateway(t), "put-retained", time.Hour)
	until := time.Now().Add(100 * time.Hour).Truncate(time.Second)
	if err := st.PutRetained(t.Context(), "backups/b", []byte("x"), until); err != nil {
		t.Fatal(err)
	}
	if got, err := st.RetainedUntil(t.Context(), "backups/b"); err != nil || !got.Equal(until) {
		t.Errorf("until %s, %v", got, err)
	}
	if err := st.PutRetained(t.Context(), "backups/b", []byte("x"), until); !errors.Is(err, blob.ErrExists) {
		t.Errorf("again: %v", err)
	}
	if err := st.PutRetained(t.Context(), "keys/ring-1", []byte("x"), until); err == nil {
		t.Error("a key was retained")
	}
	if _, err := st.Stat(t.Context(), "keys/ring-1"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("a key: %v", err)
	}
}

// Two processes: what one deleted and wrote anew, the other finds.
func TestRememberedVersions(t *testing.T) {
	server := s3test.Gateway(t)
	a := open(t, server.Bucket(t, "remembered", true))
	c := withEndpoint(t, server, "remembered")
	c.Versions = true
	b := open(t, c)
	put(t, a, "sessions/x", []byte("one"))
	if got, err := b.Get(t.Context(), "sessions/x", 10); err != nil || string(got) != "one" {
		t.Fatalf("get = %q, %v", got, err)
	}
	if err := a.Delete(t.Context(), "sessions/x"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(t.Context(), "sessions/x"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
	put(t, a, "sessions/x", []byte("two"))
	if got, err := b.Get(t.Context(), "sessions/x", 10); err != nil || string(got) != "two" {
		t.Errorf("get = %q, %v", got, err)
	}
}

// Blobs that go in parts are locked like others.
func TestLockedParts(t *testing.T) {
	c := s3test.Gateway(t).Bucket(t, "locked-parts", true)
	c.Lock, c.Single, c.Part = &s3.Lock{For: time.Hour}, 5<<20, 5<<20
	st := open(t, c)
	if err := st.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	data := noise(12<<20, 1)
	put(t, st, "packs/a", data)
	if until, err := st.RetainedUntil(t.Context(), "packs/a"); err != nil || until.Before(time.Now().Add(50*time.Minute)) {
		t.Errorf("until %s, %v", until, err)
	}
	if got, err := st.Get(t.Context(), "packs/a", 12<<20); err != nil || !bytes.Equal(got, data) {
		t.Errorf("get: %d bytes, %v", len(got), err)
	}
	if err := st.Delete(t.Context(), "packs/a"); !errors.Is(err, blob.ErrRetained) {
		t.Errorf("delete: %v", err)
	}
}
