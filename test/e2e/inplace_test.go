package e2e

import (
	"net/http"
	"testing"
)

// restores: a guest that never stops writing is put back to the wrong backup, and
// that is undone; its own log proves both, and the backups after each are exact
// and incremental. A snapshot goes with its disks and comes back with them.
func (w *powered) restores(t *testing.T) {
	w.Stop(t)
	w.Override("snapshot.lifetime", "24h")
	w.Start(t)
	put(t, w.web+"/content", "good")
	b := backup(t, w.Service, w.owner.Key, w.vps)
	backedUp := w.VerifyLog(t, w.owner, b.BackupID)
	w.snapshot(t, http.MethodPost, "", map[string]string{"name": "held"})
	put(t, w.web+"/content", "newer")
	w.logReaches(t, backedUp+50)
	written := w.count(t)

	w.act(t, "/backups/"+b.BackupID+"/actions/restore")
	if got := get(t, w.web+"/content"); got != "good" {
		t.Errorf("after the restore it serves %q", got)
	}
	// At the instant of the backup an entry may have been on the first disk only.
	if got := w.logGoesOn(t); got != backedUp && got+1 != backedUp {
		t.Errorf("the log goes on after %d; the backup ends with %d", got, backedUp)
	}
	if got := w.names(t); got != "" {
		t.Errorf("the restored disks have the snapshots %q", got)
	}
	w.incremental(t)

	w.act(t, "/actions/undo-restore")
	if got := get(t, w.web+"/content"); got != "newer" {
		t.Errorf("after the undo it serves %q", got)
	}
	if got := w.logGoesOn(t); got < written {
		t.Errorf("the log goes on after %d; before the restore it had %d", got, written)
	}
	if got := w.names(t); got != "held" {
		t.Errorf("the disks from before have the snapshots %q", got)
	}
	w.incremental(t)
	w.snapshot(t, http.MethodDelete, "/held", nil)
	w.stateBecomes(t, "running")
}

// act queues an action on the VPS and waits for its end.
func (w *powered) act(t *testing.T, path string) {
	t.Helper()
	w.Await(t, w.owner.Key, w.Call(t, w.owner.Key, http.MethodPost, "/api/v2/vps/"+w.vps+path, nil).Queued(t), patience)
}

// incremental makes a backup that reads only what has changed, and proves it.
func (w *powered) incremental(t *testing.T) {
	t.Helper()
	w.logReaches(t, w.count(t)+20)
	b := backup(t, w.Service, w.owner.Key, w.vps)
	if b.Incremental != "incremental" {
		t.Errorf("the backup is %+v", b)
	}
	w.VerifyLog(t, w.owner, b.BackupID)
}
