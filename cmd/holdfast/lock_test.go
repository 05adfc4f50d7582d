package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/test/service"
	"holdfast/vault/blob/s3/s3test"
)

// A service whose bucket locks: nobody deletes a backup before its date, by the
// API or with the bucket's own keys, and it is recovered from under what the
// thief of those keys put over it.
func TestLockedSite(t *testing.T) {
	server := s3test.Gateway(t)
	server.Bucket(t, "locked", true)
	credentials := keysFile(t)
	s, a, vps, content := newService(t, service.Set("site", "s3://locked/hold"), service.Set("s3.endpoint", server.Endpoint),
		service.Set("s3.path_style", "true"), service.Set("s3.credentials", credentials), service.Set("s3.lock", "2d"))
	before := time.Now()
	job := s.Await(t, a.Key, s.Backup(t, a.Key, vps), time.Minute)
	var made struct{ BackupID string }
	if err := json.Unmarshal(job.Result, &made); err != nil {
		t.Fatal(err)
	}
	backup := made.BackupID
	answer := s.Want(t, http.StatusConflict, a.Key, http.MethodDelete, "/api/v2/vps/"+vps+"/backups/"+backup, nil)
	var problem struct {
		Code       string
		Extensions struct{ LockedUntil time.Time }
	}
	answer.Decode(t, &problem)
	if until := problem.Extensions.LockedUntil; problem.Code != "backup_locked" || until.Before(before.Add(48*time.Hour)) || until.After(time.Now().Add(48*time.Hour+time.Minute)) {
		t.Errorf("problem: %+v", problem)
	}
	s.Run(t, "vault", "collect")

	kitFile := kit(t, s, a)
	cover(t, server, "locked", "hold/"+a.ID+"/", backup)
	from := []string{
		"recover", "--vault", "s3://locked/hold/" + a.ID, "--kit", kitFile, "--s3-versions",
		"--s3-endpoint", server.Endpoint, "--s3-path-style", "--s3-credentials", credentials,
	}
	if list := string(s.Alone(t, from...)); !strings.HasPrefix(list, backup+" ") {
		t.Errorf("backups: %s", list)
	}
	output := filepath.Join(t.TempDir(), "disk.raw")
	s.Alone(t, append(from, "--backup", backup, "--disk", "disk0", "--output", output)...)
	if got, err := os.ReadFile(output); err != nil || !bytes.Equal(got, content) {
		t.Errorf("what was recovered is not what the disk held: %v", err)
	}
	s.Run(t, "vault", "check", "--read-data")
}

// cover puts a delete marker over all that is locked, and the tombstone that would
// delete a backup.
func cover(t *testing.T, server *s3test.Server, bucket, prefix, backup string) {
	t.Helper()
	c, err := minio.New(server.Endpoint[len("http://"):], &minio.Options{
		Creds: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretText, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for o := range c.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if strings.HasPrefix(o.Key, prefix+"keys/") {
			continue // these are not locked: see the README
		}
		n++
		if err := c.RemoveObject(t.Context(), bucket, o.Key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.PutObject(t.Context(), bucket, prefix+"tombstones/backup-"+backup, strings.NewReader(""), 0, minio.PutObjectOptions{}); err != nil || n < 4 {
		t.Fatalf("%d objects covered, %v", n, err)
	}
}
