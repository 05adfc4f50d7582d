package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/test/service"
)

// keyed is a service with one backup, and what its keys are tested by.
type keyed struct {
	*service.Service

	account service.Account
	vps     string
	content []byte
	vault   string // directory
	data    map[string][]byte
}

func newKeyed(t *testing.T, options ...service.Option) *keyed {
	t.Helper()
	k := &keyed{}
	k.Service, k.account, k.vps, k.content = newService(t, options...)
	k.Run(t, "admin", "account", "set", k.account.ID, "--backup-slots", "-1")
	k.vault = filepath.Join(k.Dir, "vault", k.account.ID)
	k.backup(t)
	k.data = k.blobs(t)
	return k
}

func (k *keyed) backup(t *testing.T) {
	t.Helper()
	k.Await(t, k.account.Key, k.Backup(t, k.account.Key, k.vps), time.Minute)
}

// blobs are the vault's, but for its keys, the marks of sessions and collections.
func (k *keyed) blobs(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, dir := range []string{"packs", "index", "backups"} {
		err := filepath.Walk(filepath.Join(k.vault, dir), func(path string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				all[path], err = os.ReadFile(path) // #nosec G304 G122 -- our own directory
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// keyBlobs are the names of the vault's key blobs.
func (k *keyed) keyBlobs(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(k.vault, "keys"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// proved fails unless every backup is there for this kit, the first one comes back
// with it, the check is clean, and nothing that was there was rewritten.
func (k *keyed) proved(t *testing.T, kitFile string, backups int) {
	t.Helper()
	from := []string{"recover", "--vault", k.vault, "--kit", kitFile}
	list := strings.Split(strings.TrimSpace(string(k.Alone(t, from...))), "\n")
	if len(list) != backups {
		t.Fatalf("%d backups instead of %d", len(list), backups)
	}
	for _, line := range []string{list[0], list[len(list)-1]} {
		output := filepath.Join(t.TempDir(), "disk.raw")
		k.Alone(t, append(from, "--backup", strings.Fields(line)[0], "--disk", "disk0", "--output", output)...)
		if got, err := os.ReadFile(output); err != nil || !bytes.Equal(got, k.content) { // #nosec G304 -- our own
			t.Errorf("what was recovered is not what the disk held: %v", err)
		}
	}
	k.Run(t, "vault", "check", "--read-data")
	for path, data := range k.data {
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) { // #nosec G304 -- our own
			t.Errorf("%s was rewritten: %v", path, err)
		}
	}
}

// epochs are the data keys' epochs that the manifests name in clear.
func (k *keyed) epochs(t *testing.T) map[byte]int {
	t.Helper()
	found := map[byte]int{}
	for path, data := range k.blobs(t) {
		if strings.Contains(path, "/backups/") {
			found[data[8]]++
		}
	}
	return found
}

// Every level of keys is rotated while the service runs: no data is rewritten,
// what was there and what comes is readable, and the older keys open nothing.
func TestRotateEveryLevel(t *testing.T) {
	k := newKeyed(t)
	first := kit(t, k.Service, k.account)

	var r rotation
	rotate := func(args ...string) {
		t.Helper()
		r = rotation{}
		if err := json.Unmarshal(k.Run(t, append([]string{"key"}, args...)...), &r); err != nil {
			t.Fatal(err)
		}
	}
	rotate("rotate-data", "--account", k.account.ID)
	if r.Epoch != 2 || r.Resumed || len(r.Places) != 1 || len(r.Removed) != 1 {
		t.Errorf("data key: %+v", r)
	}
	k.backup(t) // by the service, which had the vault open
	if e := k.epochs(t); e[1] != 1 || e[2] != 1 {
		t.Errorf("epochs: %v", e)
	}
	k.proved(t, first, 2)

	rotate("rotate-account", "--account", k.account.ID)
	if !r.OldFinished || len(r.Removed) != 2 {
		t.Errorf("account key: %+v", r)
	}
	refused(t, 2, "recover", "--vault", k.vault, "--kit", first)
	second := kit(t, k.Service, k.account)
	k.backup(t)
	k.proved(t, second, 3)

	// The master key: the service goes on with the old one until it is restarted.
	config := []string{"--data", k.Dir}
	fresh, current := filepath.Join(k.Dir, "fresh.key"), filepath.Join(k.Dir, "master.key")
	k.Alone(t, "key", "create-master", fresh)
	rotate("rotate-master", "--new-key", fresh)
	if r.OldFinished || r.Accounts != 1 {
		t.Errorf("master key: %+v", r)
	}
	k.backup(t)
	refused(t, 4, append(config, "admin", "account", "create", "--name", "late")...)
	refused(t, 4, append(config, "key", "rotate-account", "--account", k.account.ID)...)
	refused(t, 2, append(config, "key", "rotate-master", "--finish")...)
	withNew := []string{"--data", k.Dir, "--set", "master_key=" + fresh}
	if said := refused(t, 4, append(withNew, "key", "rotate-master", "--finish")...); !strings.Contains(said, "Restart it") {
		t.Errorf("said: %s", said)
	}
	rotate("rotate-master", "--new-key", fresh) // again, as after a kill
	if !r.Resumed {
		t.Errorf("again: %+v", r)
	}
	k.Stop(t)
	old := filepath.Join(k.Dir, "old.key")
	if err := errors.Join(os.Rename(current, old), os.Rename(fresh, current)); err != nil {
		t.Fatal(err)
	}
	k.Start(t)
	k.backup(t)
	rotate("rotate-master", "--finish")
	if !r.OldFinished || len(r.Removed) != 1 {
		t.Errorf("finish: %+v", r)
	}
	rotate("rotate-master", "--finish") // again, as after a kill
	if len(k.keyBlobs(t)) != 2 {
		t.Errorf("key blobs: %v", k.keyBlobs(t))
	}
	refused(t, 1, append(config, "admin", "account", "list", "--set", "master_key="+old)...)
	k.backup(t)
	k.proved(t, second, 6)
	k.NewAccount(t, "after")
	if log := k.Log(t); strings.Contains(log, "secret") || strings.Contains(log, k.account.Key) {
		t.Errorf("log: %s", log)
	}
}

// Whoever holds the site puts back the ring of before a rotation: the service
// writes nothing under it, and says what is wrong.
func TestServiceRefusesAnOldRing(t *testing.T) {
	k := newKeyed(t)
	ring := filepath.Join(k.vault, "keys", "ring-00000001")
	old, err := os.ReadFile(ring) // #nosec G304 -- our own
	if err != nil {
		t.Fatal(err)
	}
	k.Run(t, "key", "rotate-data", "--account", k.account.ID)
	if err := errors.Join(os.Remove(filepath.Join(k.vault, "keys", "ring-00000002")), os.WriteFile(ring, old, 0o600)); err != nil {
		t.Fatal(err)
	}
	before := len(k.blobs(t))
	for range 2 { // with the vault open, and after a restart
		j := k.Until(t, k.account.Key, k.Backup(t, k.account.Key, k.vps), time.Minute, func(j service.Job) bool { return j.Status == "failed" || j.Status == "completed" })
		if b, err := json.Marshal(j); j.Status != "failed" || err != nil || !strings.Contains(string(b), "backup_damaged") {
			t.Errorf("job: %s", b)
		}
		k.Stop(t)
		k.Start(t)
	}
	for _, command := range []string{"rotate-data", "rotate-account"} {
		if said := refused(t, 5, "key", command, "--account", k.account.ID, "--data", k.Dir); !strings.Contains(said, "epoch 1") {
			t.Errorf("said: %s", said)
		}
	}
	if after := len(k.blobs(t)); after != before {
		t.Errorf("%d blobs instead of %d", after, before)
	}
}
