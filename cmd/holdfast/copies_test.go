package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/test/service"
	"holdfast/vault/blob/s3/s3test"
)

// shownBackup is what `admin backup show` says.
type shownBackup struct {
	ID     string
	Status string
	Copies []struct {
		Place, State, Error string
		Bytes               int64
	}
}

// lies polls until the only further place of a backup is in a state.
func lies(t *testing.T, s *service.Service, backup, state string) (b shownBackup) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		b = shownBackup{}
		if err := json.Unmarshal(s.Run(t, "admin", "backup", "show", backup, "--json"), &b); err != nil {
			t.Fatal(err)
		}
		if len(b.Copies) == 1 && b.Copies[0].State == state {
			return b
		}
	}
	t.Fatalf("the copy is never %s: %+v\n%s", state, b, s.Log(t))
	return b
}

// restored proves that a backup comes up again with these bytes.
func restored(t *testing.T, s *service.Service, a service.Account, vps, backup, machines string, content []byte) {
	t.Helper()
	job := s.Call(t, a.Key, http.MethodPost, "/api/v2/vps/"+vps+"/backups/"+backup+"/actions/restore-to-payg", nil).Queued(t)
	var v struct{ VPSID string }
	service.Answer{Body: s.Await(t, a.Key, job, time.Minute).Result}.Decode(t, &v)
	got, err := os.ReadFile(filepath.Join(machines, "machines", v.VPSID, "gen-1", "disk0.raw"))
	if err != nil || len(got) < len(content) || !bytes.Equal(got[:len(content)], content) {
		t.Errorf("what was restored is not what the disk held: %v", err)
	}
}

// backupOf makes a backup and returns its id.
func backupOf(t *testing.T, s *service.Service, a service.Account, vps string) string {
	t.Helper()
	var r service.BackupResult
	service.Answer{Body: s.Await(t, a.Key, s.Backup(t, a.Key, vps), time.Minute).Result}.Decode(t, &r)
	return r.BackupID
}

// stored is the number of packs of an account's vault at a place.
func stored(t *testing.T, s *service.Service, a service.Account, place string) int {
	t.Helper()
	var c struct{ Plan struct{ Packs int } }
	if err := json.Unmarshal(s.Run(t, "vault", "collect", "--dry-run", "--account", a.ID, "--place", place), &c); err != nil {
		t.Fatal(err)
	}
	return c.Plan.Packs
}

// A second site outlives the first: backups are copied there, restored from there,
// and deleted there, and the first is made anew to fit it.
func TestCopies(t *testing.T) {
	server := s3test.Gateway(t)
	server.Bucket(t, "second", false)
	keys := keysFile(t)
	second := fmt.Sprintf(`[{name: offsite, site: "s3://second/hold", s3: {endpoint: %q, path_style: true, credentials: %q}}]`, server.Endpoint, keys)
	machines := filepath.Join(t.TempDir(), "sim")
	s, a, vps, content := newService(t, service.Set("copies", second), service.Set("vault.collect_after", "1s"), service.Set("host.machines", machines))
	first := backupOf(t, s, a, vps)
	if b := lies(t, s, first, "complete"); b.Copies[0].Place != "offsite" || b.Copies[0].Bytes < int64(len(content)) {
		t.Errorf("the copy is %+v", b.Copies)
	}

	// The first site is lost under the running service.
	if err := os.RemoveAll(s.Site()); err != nil {
		t.Fatal(err)
	}
	restored(t, s, a, vps, first, machines, content)
	next := backupOf(t, s, a, vps)
	if b := lies(t, s, next, "complete"); b.Copies[0].Bytes > int64(len(content))/2 {
		t.Errorf("the second copy sent %d bytes that were there", b.Copies[0].Bytes)
	}
	refused(t, 5, "vault", "check", "--data", s.Dir) // the first backup is not there any more
	s.Run(t, "vault", "repair", "--account", a.ID, "--from", "s3://second/hold/"+a.ID, "--s3-endpoint", server.Endpoint, "--s3-path-style", "--s3-credentials", keys)
	s.Run(t, "vault", "check", "--read-data")
	restored(t, s, a, vps, next, machines, content)

	// A deleted backup's space is free at both within seconds.
	for _, id := range []string{first, next} {
		s.Want(t, http.StatusNoContent, a.Key, http.MethodDelete, "/api/v2/vps/"+vps+"/backups/"+id, nil)
	}
	for deadline := time.Now().Add(time.Minute); stored(t, s, a, "local")+stored(t, s, a, "offsite") > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("the deleted backups' packs stay\n%s", s.Log(t))
		}
	}
	if out := s.Run(t, "admin", "backup", "list", "--json"); string(bytes.TrimSpace(out)) != "[]" {
		t.Errorf("what is left: %s", out)
	}
}

// A place that is away keeps nobody waiting, and is caught up with.
func TestCopyToAPlaceThatIsAway(t *testing.T) {
	away := filepath.Join(t.TempDir(), "disk")
	s, a, vps, _ := newService(t, service.Set("copies", fmt.Sprintf("[{name: other, site: %q}]", away)), service.Set("vault.collect_after", "1s"))
	kept, gone := backupOf(t, s, a, vps), backupOf(t, s, a, vps)
	s.Want(t, http.StatusNoContent, a.Key, http.MethodDelete, "/api/v2/vps/"+vps+"/backups/"+gone, nil)
	if b := lies(t, s, gone, "deleting"); b.Status != "deleted" {
		t.Errorf("the backup is %+v", b)
	}
	if _, err := os.Stat(away); err == nil {
		t.Fatal("the place was made")
	}
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	lies(t, s, kept, "complete")
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := s.Try(t, "admin", "backup", "show", gone); err != nil {
			break // it is forgotten when it is gone everywhere
		}
		if time.Now().After(deadline) {
			t.Fatalf("the deleted backup stays\n%s", s.Log(t))
		}
	}
	refused(t, 3, "admin", "--data", s.Dir, "backup", "show", gone)
}

// What is wrong with a list of places is said by name.
func TestWrongCopies(t *testing.T) {
	for says, value := range map[string]string{
		"copies[0].name": `[{name: Up, site: /x}]`,
		"copies[1].name": `[{name: a, site: /x}, {name: a, site: /y}]`,
		"copies[0].site": `[{name: a, site: relative}]`,
		"copies[1].site": `[{name: a, site: /x}, {name: b, site: /x/}]`,
		"cannot be read": `[{name: a, place: /x}]`,
		"copies[0].s3":   `[{name: a, site: /x, s3: {lock: 30d}}]`,
	} {
		if said := refused(t, 2, "config", "show", "--data", t.TempDir(), "--set", "copies="+value); !strings.Contains(said, says) {
			t.Errorf("%s: %s", value, said)
		}
	}
}
