package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"holdfast/internal/vmtest"
	"holdfast/test/service"
)

// snapshots: a guest that never stops writing is rolled back, and its own log
// proves to which instant; snapshots are deleted and expire under it.
func (w *powered) snapshots(t *testing.T) {
	put(t, w.web+"/content", "before")
	startLog(t, w.web)
	w.logReaches(t, w.count(t)+50)
	from := w.count(t)
	w.snapshot(t, http.MethodPost, "", map[string]string{"name": "one"})
	to := w.count(t)
	put(t, w.web+"/content", "after")
	w.logReaches(t, to+50)
	w.snapshot(t, http.MethodPost, "", map[string]string{"name": "two"})
	w.snapshot(t, http.MethodPost, "/one/actions/restore", nil)
	if got := get(t, w.web+"/content"); got != "before" {
		t.Errorf("after the rollback it serves %q", got)
	}
	if got := w.logGoesOn(t); got < from || got > to+1 {
		t.Errorf("the log goes on after %d; the snapshot was taken between %d and %d", got, from, to)
	}
	if got := w.names(t); got != "one" {
		t.Errorf("there are %q", got)
	}
	b := backup(t, w.Service, w.owner.Key, w.vps)
	t.Logf("the backup after the rollback is %+v", b)
	w.VerifyLog(t, w.owner, b.BackupID)

	w.snapshot(t, http.MethodPost, "", map[string]string{"name": "three"})
	pause := service.WatchPauses(t, w.web)
	w.snapshot(t, http.MethodDelete, "/one", nil)
	pause.Check(t)
	w.expires(t)
}

// snapshot queues an operation on snapshots and waits for its end.
func (w *powered) snapshot(t *testing.T, method, path string, body any) {
	t.Helper()
	w.Await(t, w.owner.Key, w.Call(t, w.owner.Key, method, "/api/v2/vps/"+w.vps+"/snapshots"+path, body).Queued(t), patience)
}

func (w *powered) names(t *testing.T) string {
	t.Helper()
	var v struct{ Data []struct{ Name string } }
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/v2/vps/"+w.vps+"/snapshots", nil).Decode(t, &v)
	var out []string
	for _, s := range v.Data {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

// expires restarts the service with a shorter lifetime, and waits until a new
// snapshot is gone by itself, while the guest writes on.
func (w *powered) expires(t *testing.T) {
	w.Stop(t)
	w.Override("snapshot.lifetime", "1s")
	w.Override("vault.collect_after", "1s") // the upkeep looks as often
	w.Start(t)
	w.snapshot(t, http.MethodPost, "", map[string]string{"name": "short"})
	eventually(t, "the snapshot to expire", func() bool {
		var all []struct{ Name string }
		if err := json.Unmarshal(w.Run(t, "admin", "snapshot", "list", "--json"), &all); err != nil {
			t.Fatal(err)
		}
		return len(all) == 1 && all[0].Name == "three"
	})
	w.snapshot(t, http.MethodDelete, "/three", nil)
	w.logReaches(t, w.count(t)+10)
	layers, err := filepath.Glob(filepath.Join(w.Dir, "machines", w.vps, "gen-*", "disk1.*.qcow2"))
	if err != nil || len(layers) > 1 { // that which the guest writes to
		t.Errorf("layers are left: %v, %v", layers, err)
	}
}

// count is the last entry of the guest's log that is durable.
func (w *powered) count(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(get(t, w.web+"/log/count"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *powered) logReaches(t *testing.T, n uint64) {
	t.Helper()
	eventually(t, "the guest to write", func() bool { return w.count(t) >= n })
}

// logGoesOn has a guest that has booted go on with its log, and returns its last
// entry until then.
func (w *powered) logGoesOn(t *testing.T) uint64 {
	t.Helper()
	ctx, cancel := withPatience(t)
	defer cancel()
	text, err := vmtest.Get(ctx, w.web+"/log/start?dev=/dev/vdb&dev=/dev/vdc")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
