package s3_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
	"holdfast/vault/check"
)

// destroy deletes every version that can be deleted, with the right to bypass
// governance, and then puts rubbish, a marker, or both over every name there was.
func (s stolen) destroy() (deleted, refused int) {
	s.t.Helper()
	var names []string
	for o := range s.client.ListObjects(s.t.Context(), s.bucket, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		if o.Err != nil {
			s.t.Fatal(o.Err)
		}
		names = append(names, o.Key)
		err := s.client.RemoveObject(s.t.Context(), s.bucket, o.Key, minio.RemoveObjectOptions{VersionID: o.VersionID, GovernanceBypass: true})
		if err == nil {
			deleted++
		} else {
			refused++
		}
	}
	for i, name := range names {
		if i%3 > 0 {
			s.replace(name)
		}
		if i%3 < 2 {
			s.hide(name)
		}
	}
	return deleted, refused
}

// Whoever stole the keys of the site, or the operator himself, does all that S3
// lets him do to a vault under a lock: every backup is listed, found whole and
// restored bit for bit, and the next one can be made.
func TestAttackedVault(t *testing.T) {
	server := s3test.Gateway(t)
	c := server.Bucket(t, "attacked-vault", true)
	c.Lock = &s3.Lock{For: time.Hour}
	v, ring := newVault(t, open(t, c), 1<<20)
	evil := stolen{t, attacker(t, server), "attacked-vault"}
	disks := map[string][]byte{"b1": noise(3<<20, 1)}
	backup(t, v, "b1", disks["b1"], "", vault.Range{Length: 3 << 20})
	disks["b2"] = bytes.Clone(disks["b1"])
	copy(disks["b2"][1<<20:], noise(1<<20, 2))
	backup(t, v, "b2", disks["b2"], "b1", vault.Range{Offset: 1 << 20, Length: 1 << 20})

	for round, next := range []string{"b3", "b4"} {
		if deleted, refused := evil.destroy(); round == 0 && (deleted == 0 || refused < 5) {
			t.Fatalf("the attacker deleted %d versions, and was refused %d", deleted, refused)
		}
		for id := range disks {
			for _, stone := range []string{"tombstones/backup-" + id, "tombstones/session-s-" + id} {
				if _, err := evil.client.PutObject(t.Context(), evil.bucket, stone, strings.NewReader(""), 0, minio.PutObjectOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		fresh, err := vault.Open(t.Context(), open(t, c), ring)
		if err != nil {
			t.Fatal(err)
		}
		for id, disk := range disks {
			if !bytes.Equal(restore(t, fresh, id, len(disk)), disk) {
				t.Errorf("round %d: %s differs", round, id)
			}
			if err := fresh.DeleteBackup(t.Context(), id); !isRetained(err) {
				t.Errorf("round %d: delete %s: %v", round, id, err)
			}
		}
		report, err := check.Run(t.Context(), fresh, check.Options{ReadData: true})
		if err != nil || !report.OK || report.Backups != len(disks) {
			t.Errorf("round %d: check: %+v, %v", round, report, err)
		}
		p, err := fresh.PlanCollection(t.Context(), vault.CollectOptions{})
		if err == nil {
			_, err = fresh.Collect(t.Context(), p, vault.CollectOptions{Idle: time.Nanosecond})
		}
		if err != nil && !vault.IsDamage(err) {
			t.Errorf("round %d: collect: %v", round, err)
		}
		disks[next] = noise(2<<20, uint64(10+round))
		backup(t, fresh, next, disks[next], "", vault.Range{Length: 2 << 20})
	}
}

func isRetained(err error) bool {
	_, ok := errors.AsType[*vault.RetainedError](err)
	return ok
}
