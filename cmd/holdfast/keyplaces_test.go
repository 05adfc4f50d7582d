package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"holdfast/test/service"
	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/keys"
)

// twice is a keyed service with a second place, a directory on a disk of its own.
type twice struct {
	*keyed

	disk  string // what would be a mount
	other string // the account's vault there
}

func newTwice(t *testing.T, options ...service.Option) *twice {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	site := filepath.Join(disk, "vaults")
	if err := os.MkdirAll(site, 0o700); err != nil {
		t.Fatal(err)
	}
	k := newKeyed(t, append(options, service.Set("copies", fmt.Sprintf("[{name: other, site: %q}]", site)))...)
	w := &twice{keyed: k, disk: disk, other: filepath.Join(site, k.account.ID)}
	w.copied(t)
	return w
}

// copied makes a backup and waits for its copy.
func (w *twice) copied(t *testing.T) {
	t.Helper()
	lies(t, w.Service, backupOf(t, w.Service, w.account, w.vps), "complete")
}

// fails runs a command that must end with this status, and returns what it said.
func (w *twice) fails(t *testing.T, status int, args ...string) string {
	t.Helper()
	out, err := w.Try(t, args...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != status {
		t.Fatalf("holdfast %v: %v instead of status %d\n%s", args, err, status, out)
	}
	return err.Error() + string(out)
}

func (w *twice) rotate(t *testing.T, args ...string) (r rotation) {
	t.Helper()
	if err := json.Unmarshal(w.Run(t, append([]string{"key"}, args...)...), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// keysAt are the key blobs of a vault's directory by name.
func keysAt(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "keys", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name) // #nosec G304 -- our own
		if errors.Is(err, syscall.EISDIR) {
			continue // readOnly
		}
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(name)] = string(data)
	}
	return found
}

// putKeys has a vault's directory hold these key blobs and no others.
func putKeys(t *testing.T, dir string, blobs map[string]string) {
	t.Helper()
	dir = filepath.Join(dir, "keys")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, data := range blobs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// alike fails unless the master key and a new kit open both places, which have one
// ring of this epoch and nothing older.
func (w *twice) alike(t *testing.T, epoch uint32) {
	t.Helper()
	master, err := keys.LoadMasterKey(filepath.Join(w.Dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	fresh := kit(t, w.Service, w.account)
	for _, dir := range []string{w.vault, w.other} {
		st, err := local.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		_, _, ring, err := vault.Unlock(t.Context(), st, master)
		if err != nil || ring.Current() != epoch || len(keysAt(t, dir)) != 2 {
			t.Errorf("%s: epoch %d instead of %d, %d key blobs: %v", dir, ring.Current(), epoch, len(keysAt(t, dir)), err)
		}
		w.Alone(t, "recover", "--vault", dir, "--kit", fresh)
	}
}

// away has the second place not answer while do runs, once as a disk that is not
// mounted, once as one that fails.
func (w *twice) away(t *testing.T, do func()) {
	t.Helper()
	aside := w.disk + ".aside"
	for _, broken := range []bool{false, true} {
		err := os.Rename(w.disk, aside)
		if err == nil && broken {
			err = os.WriteFile(w.disk, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		do()
		if broken {
			err = os.Remove(w.disk)
		}
		if err := errors.Join(err, os.Rename(aside, w.disk)); err != nil {
			t.Fatal(err)
		}
	}
}

// readOnly has the second place refuse new key blobs while do runs: there is a
// directory where the next one would be.
func (w *twice) readOnly(t *testing.T, do func()) {
	t.Helper()
	var taken []string
	for name := range keysAt(t, w.other) {
		prefix, number, _ := strings.Cut(name, "-")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(w.other, "keys", fmt.Sprintf("%s-%08d", prefix, n+1))
		if err := os.Mkdir(dir, 0o700); err == nil {
			taken = append(taken, dir)
		} else if !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	do()
	for _, dir := range taken {
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// Each rotation is refused by name while a place does not answer, with nothing
// changed; cut off between the places it gives up no key, and goes on when it is
// repeated; then both places are alike, and backups and copies go on.
func TestRotateAtTwoPlaces(t *testing.T) {
	w := newTwice(t)
	id := w.account.ID
	fresh, current := filepath.Join(w.Dir, "fresh.key"), filepath.Join(w.Dir, "master.key")
	w.Alone(t, "key", "create-master", fresh)
	old := kit(t, w.Service, w.account)
	run := func(args ...string) rotation {
		t.Helper()
		first := keysAt(t, w.vault)
		w.away(t, func() {
			if said := w.fails(t, 6, append([]string{"key"}, args...)...); !strings.Contains(said, w.other) {
				t.Errorf("said: %s", said)
			}
			if now := keysAt(t, w.vault); fmt.Sprint(now) != fmt.Sprint(first) {
				t.Errorf("%v changed the keys", args)
			}
		})
		// As --finish finds all it puts there already, it has nothing to write.
		if !slices.Contains(args, "--finish") {
			before := []map[string]string{first, keysAt(t, w.other)}
			w.readOnly(t, func() {
				if said := w.fails(t, 6, append([]string{"key"}, args...)...); !strings.Contains(said, w.other) {
					t.Errorf("said: %s", said)
				}
			})
			for i, dir := range []string{w.vault, w.other} {
				now := keysAt(t, dir)
				for name, data := range before[i] {
					if now[name] != data {
						t.Errorf("%v gave up %s of %s", args, name, dir)
					}
				}
			}
			w.backup(t)
		}
		r := w.rotate(t, args...)
		if !slices.Contains(r.Places, w.vault) || !slices.Contains(r.Places, w.other) {
			t.Errorf("%v: places: %v", args, r.Places)
		}
		w.copied(t)
		return r
	}
	if r := run("rotate-data", "--account", id); r.Epoch != 2 || !r.Resumed {
		t.Errorf("data key: %+v", r)
	}
	w.alike(t, 2)
	if r := run("rotate-account", "--account", id); !r.OldFinished || !r.Resumed {
		t.Errorf("account key: %+v", r)
	}
	w.alike(t, 2)
	for _, dir := range []string{w.vault, w.other} {
		refused(t, 2, "recover", "--vault", dir, "--kit", old)
	}
	run("rotate-master", "--new-key", fresh)
	w.Stop(t)
	if err := os.Rename(fresh, current); err != nil {
		t.Fatal(err)
	}
	w.Start(t)
	if r := run("rotate-master", "--finish"); !r.OldFinished {
		t.Errorf("finish: %+v", r)
	}
	w.alike(t, 2)
	w.Run(t, "vault", "check")
}
