package crash

import (
	"net/http"
	"slices"
	"testing"

	"holdfast"
	"holdfast/test/service"
)

// snapshotScenarios are those of the VPS's snapshots; each takes its own and
// deletes it.
var snapshotScenarios = []scenario{
	{
		name: "snapshot", kind: holdfast.KindSnapshotCreate, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) { w.power(t, w.vps, "running"); w.write(t) },
		begin: func(t *testing.T, w *stepped) string { return w.snapshot(t, http.MethodPost, "", named("kept")) },
		check: func(t *testing.T, w *stepped, j service.Job) {
			if names := w.snapshots(t); j.Status == "completed" && !slices.Equal(names, []string{"kept"}) || j.Status != "completed" && len(names) > 0 {
				t.Errorf("the job is %s, the snapshots are %v", j.Status, names)
			}
			w.unsnapshot(t)
		},
	},
	{
		name: "snapshot of a guest with an agent", kind: holdfast.KindSnapshotCreate,
		ready: func(t *testing.T, w *stepped) { w.bootLinux(t) },
		begin: func(t *testing.T, w *stepped) string {
			return w.Call(t, w.owner.Key, http.MethodPost, "/api/v2/vps/"+w.linux+"/snapshots", named("kept")).Queued(t)
		},
		check: func(t *testing.T, w *stepped, _ service.Job) { // the guest goes on, thawed
			put(t, w.Web(t, w.owner.Key, w.linux)+"/content", "thawed")
			w.Await(t, w.owner.Key, w.Call(t, w.owner.Key, http.MethodDelete, "/api/v2/vps/"+w.linux+"/snapshots/kept", nil).Queued(t), patience)
		},
	},
	{
		name: "rollback", kind: holdfast.KindSnapshotRestore, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) {
			w.power(t, w.vps, "running")
			w.write(t)
			w.Await(t, w.owner.Key, w.snapshot(t, http.MethodPost, "", named("kept")), patience)
			w.kept = slices.Clone(w.content)
			w.write(t)
			w.power(t, w.vps, "stopped") // a firmware does not hear its power button for a minute
		},
		begin: func(t *testing.T, w *stepped) string {
			return w.snapshot(t, http.MethodPost, "/kept/actions/restore", nil)
		},
		check: func(t *testing.T, w *stepped, j service.Job) {
			if j.Status == "completed" {
				w.content = w.kept
			}
			w.unsnapshot(t)
		},
	},
	{
		name: "deletion of a snapshot", kind: holdfast.KindSnapshotDelete, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) {
			w.power(t, w.vps, "running")
			w.Await(t, w.owner.Key, w.snapshot(t, http.MethodPost, "", named("kept")), patience)
			w.write(t)
		},
		begin: func(t *testing.T, w *stepped) string { return w.snapshot(t, http.MethodDelete, "/kept", nil) },
		check: func(t *testing.T, w *stepped, _ service.Job) { w.unsnapshot(t) },
	},
}

func named(name string) map[string]string { return map[string]string{"name": name} }

// snapshot queues an operation on the VPS's snapshots and returns its job.
func (w *stepped) snapshot(t *testing.T, method, path string, body any) string {
	t.Helper()
	return w.Call(t, w.owner.Key, method, "/api/v2/vps/"+w.vps+"/snapshots"+path, body).Queued(t)
}

func (w *stepped) snapshots(t *testing.T) (names []string) {
	t.Helper()
	var v struct{ Data []struct{ Name string } }
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/v2/vps/"+w.vps+"/snapshots", nil).Decode(t, &v)
	for _, s := range v.Data {
		names = append(names, s.Name)
	}
	return names
}

// unsnapshot deletes what snapshots there are, and proves by a backup that the
// disk holds what it should.
func (w *stepped) unsnapshot(t *testing.T) {
	t.Helper()
	for _, name := range w.snapshots(t) {
		w.Await(t, w.owner.Key, w.snapshot(t, http.MethodDelete, "/"+name, nil), patience)
	}
	w.holds(t, w.Site(), w.backUp(t))
}
