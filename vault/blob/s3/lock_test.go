package s3_test

import (
	"bytes"
	"errors"
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
	c, err := minio.New(server.Endpoint[len("http://"):], &minio.Options{
		Creds: credentials.NewStaticV4(s3test.AccessKey, secret.Reveal(), ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
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
	if err != nil || until.Before(start.Add(time.Hour).Truncate(time.Second)) || until.After(start.Add(time.Hour+time.Minute)) {
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
	for _, name := range []string{"keys/account", "sessions/s-1", "tombstones/backup-1"} {
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

// Whoever stole the site's keys can put a delete marker or other bytes over a
// locked blob; neither hides it, from a process that knew it or one that did not.
func TestAttackerHidesNothing(t *testing.T) {
	server := s3test.Gateway(t)
	st := locked(t, server, "attacked", time.Hour)
	evil := attacker(t, server)
	for _, name := range []string{"backups/hidden", "backups/replaced", "backups/both"} {
		put(t, st, name, []byte(name))
	}
	hide := func(name string) {
		if err := evil.RemoveObject(t.Context(), "attacked", name, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(name string) {
		if _, err := evil.PutObject(t.Context(), "attacked", name, newReader("evil bytes"), 10, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	hide("backups/hidden")
	replace("backups/replaced")
	replace("backups/both")
	hide("backups/both")
	c := withEndpoint(t, server, "attacked")
	c.Lock = &s3.Lock{For: time.Hour}
	for _, who := range []*s3.Storage{st, open(t, c), open(t, c)} {
		got := names(t.Context(), t, who, "backups/")
		if !slices.Equal(got, []string{"backups/both", "backups/hidden", "backups/replaced"}) {
			t.Errorf("list = %v", got)
		}
		for _, name := range got {
			data, err := who.Get(t.Context(), name, 100)
			if err != nil || string(data) != name {
				t.Errorf("%s = %q, %v", name, data, err)
			}
			if info, err := who.Stat(t.Context(), name); err != nil || info.Size != int64(len(name)) {
				t.Errorf("stat %s = %+v, %v", name, info, err)
			}
			if err := who.PutNew(t.Context(), name, []byte("again")); !errors.Is(err, blob.ErrExists) {
				t.Errorf("put over %s: %v", name, err)
			}
			if err := who.Delete(t.Context(), name); !errors.Is(err, blob.ErrRetained) {
				t.Errorf("delete %s: %v", name, err)
			}
		}
	}
	// A reader that begins with the name, and not with a list.
	if data, err := open(t, c).Get(t.Context(), "backups/both", 100); err != nil || string(data) != "backups/both" {
		t.Errorf("get = %q, %v", data, err)
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
