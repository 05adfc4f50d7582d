package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/store"
	"holdfast/test/service"
)

func shredded(t *testing.T, printed []byte) certificate {
	t.Helper()
	var c certificate
	if err := json.Unmarshal(printed, &c); err != nil {
		t.Fatalf("%v in %s", err, printed)
	}
	return c
}

// wrapped reads an account's wrapped key from the database of a service.
func wrapped(t *testing.T, s *service.Service, id string) []byte {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(s.Dir, "holdfast.db"), store.WithReserve(0))
	if err != nil {
		t.Fatal(err)
	}
	a, err := db.Account(t.Context(), holdfast.AccountID(id))
	if err := errors.Join(err, db.Close()); err != nil || len(a.WrappedKey) < 32 {
		t.Fatalf("no wrapped key: %v", err)
	}
	return a.WrappedKey
}

// inDatabase reports whether bytes are in any of the database's files.
func inDatabase(t *testing.T, s *service.Service, secret []byte) (found bool) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Dir, "holdfast.db*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name) // #nosec G304 -- our own
		if err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(data, secret[:24]) || bytes.Contains(data, secret[24:])
	}
	return found
}

// An account's keys are destroyed beside the running service, which has its vault
// open: nothing reads its backups any more, nothing new is made for it, and the
// certificate says what is left.
func TestShred(t *testing.T) {
	k := newKeyed(t, service.Set("vault.bytes_per_second", "4000000"), service.Set("database_backup_retention", "30d"))
	other := k.NewAccount(t, "other")
	id := k.account.ID
	first := kit(t, k.Service, k.account)
	second := kit(t, k.Service, k.account)
	backups := "/api/v2/vps/" + k.vps + "/backups"
	var list struct {
		Backups []struct{ ID string } `json:"backups"`
	}
	k.Want(t, 200, k.account.Key, "GET", backups, nil).Decode(t, &list)
	if len(list.Backups) != 1 {
		t.Fatalf("backups: %+v", list)
	}
	backup := backups + "/" + list.Backups[0].ID
	kept := filepath.Join(t.TempDir(), "kept") // what somebody has copied
	if err := os.CopyFS(kept, os.DirFS(k.vault)); err != nil {
		t.Fatal(err)
	}
	secret := wrapped(t, k.Service, id)
	if !inDatabase(t, k.Service, secret) {
		t.Fatal("the wrapped key is not found before it is destroyed")
	}

	shred := []string{"admin", "account", "shred", id, "--data", k.Dir, "--set", "database_backup_retention=30d"}
	confirmed := slices.Concat(shred, []string{"--confirm", id})
	refused(t, 2, shred...)
	refused(t, 2, slices.Concat(shred, []string{"--confirm", other.ID})...)
	refused(t, 3, "admin", "account", "shred", "acct_01m7zw7h1f4ycxnrk1ygc6ekdd", "--confirm", "acct_01m7zw7h1f4ycxnrk1ygc6ekdd", "--data", k.Dir)
	refused(t, 3, "admin", "account", "certificate", id, "--data", k.Dir)
	// A job that its service's death cut off is under way until it is taken up again.
	job := k.Backup(t, k.account.Key, k.vps)
	k.Kill(t)
	if said := refused(t, 4, confirmed...); !strings.Contains(said, job) {
		t.Errorf("said: %s", said)
	}
	k.Start(t)
	k.Await(t, k.account.Key, job, time.Minute)

	c := shredded(t, k.Alone(t, append(confirmed, "--json")...))
	if c.CompletedAt == nil || c.Backups != 2 || len(c.Places) != 1 || c.Places[0].Removed != 2 || c.Places[0].Place != k.vault || c.Database.OverwrittenAt == nil {
		t.Errorf("certificate: %+v", c)
	}
	if inDatabase(t, k.Service, secret) || len(k.keyBlobs(t)) != 0 {
		t.Errorf("keys are left: %v", k.keyBlobs(t))
	}
	says := string(k.Run(t, "admin", "account", "certificate", id))
	for _, want := range []string{"CERTIFICATE", "kit number 1,", "kit number 2,", c.ShreddedAt.Add(30 * 24 * time.Hour).Format(time.RFC3339), "running service", unknownLapse, k.vault} {
		if !strings.Contains(says, want) {
			t.Errorf("the certificate does not say %q:\n%s", want, says)
		}
	}

	// The API says that they are gone, by the service that had the vault open and by
	// one that has not.
	for range 2 {
		k.Want(t, 200, k.account.Key, "GET", backups, nil).Decode(t, &list)
		if len(list.Backups) != 0 {
			t.Errorf("backups: %+v", list)
		}
		for _, call := range [][2]string{{"DELETE", backup}, {"POST", backup + "/actions/restore-to-payg"}} {
			var body any
			if call[0] == "POST" {
				body = map[string]any{}
			}
			if a := k.Call(t, k.account.Key, call[0], call[1], body); a.Status != 404 || !strings.Contains(string(a.Body), "backup_not_found") {
				t.Errorf("%v: %d %s", call, a.Status, a.Body)
			}
		}
		if a := k.Want(t, 403, k.account.Key, "POST", backups, nil); !strings.Contains(string(a.Body), "account_inactive") {
			t.Errorf("a new backup: %s", a.Body)
		}
		k.Stop(t)
		k.Start(t)
	}
	for _, command := range [][]string{{"admin", "account", "kit", id}, {"key", "rotate-data", "--account", id}, {"key", "rotate-account", "--account", id}} {
		refused(t, 4, append(command, "--data", k.Dir)...)
	}
	refused(t, 3, "recover", "--vault", k.vault, "--kit", first)
	k.Run(t, "vault", "check")
	k.Run(t, "vault", "collect")
	k.Run(t, "admin", "account", "kits", id)
	if left := k.keyBlobs(t); len(left) != 0 {
		t.Errorf("keys came back: %v", left)
	}

	// As the certificate says: a kit opens a copy that was kept. Keys that are put
	// back are nobody's, and go when it is done again.
	if out := k.Alone(t, "recover", "--vault", kept, "--kit", second); len(bytes.Split(bytes.TrimSpace(out), []byte("\n"))) != 1 {
		t.Errorf("from the copy: %s", out)
	}
	if err := os.CopyFS(filepath.Join(k.vault, "keys"), os.DirFS(filepath.Join(kept, "keys"))); err != nil {
		t.Fatal(err)
	}
	k.Want(t, 403, k.account.Key, "POST", backups, nil)
	again := shredded(t, k.Alone(t, append(confirmed, "--json")...))
	if again.Places[0].Removed != 4 || len(k.keyBlobs(t)) != 0 || !again.ShreddedAt.Equal(c.ShreddedAt) || again.Backups != 2 {
		t.Errorf("again: %+v", again)
	}

	// A place that fails is said to be open, until it was reached.
	place := filepath.Join(k.Dir, "vault", other.ID)
	if err := os.WriteFile(place, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := []string{"admin", "account", "shred", other.ID, "--confirm", other.ID, "--data", k.Dir}
	if said := refused(t, 6, open...); !strings.Contains(said, "Complete:   NOT YET") || !strings.Contains(said, "run the same command again") {
		t.Errorf("said: %s", said)
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	if said := string(k.Alone(t, open...)); strings.Contains(said, "NOT YET") {
		t.Errorf("said: %s", said)
	}
}
