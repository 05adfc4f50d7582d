package crash

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"holdfast"
	"holdfast/test/service"
)

// replaceScenarios are those that replace or reshape the disks of a VPS.
var replaceScenarios = []scenario{
	{
		name: "restore in place", kind: holdfast.KindRestoreInPlace, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) { w.beforeRestore(t) },
		begin: func(t *testing.T, w *stepped) string { return w.restoreInPlace(t) },
		check: func(t *testing.T, w *stepped, j service.Job) {
			if j.Status == "completed" {
				w.content = w.kept
			}
			w.holds(t, w.Site(), w.backUp(t))
		},
	},
	{
		name: "undo", kind: holdfast.KindRestoreUndo, hypervisor: true, may: []string{"vps_state_changed"},
		ready: afterRestore,
		begin: func(t *testing.T, w *stepped) string { return w.undo(t) },
		check: func(t *testing.T, w *stepped, j service.Job) {
			if j.Status == "completed" {
				w.content = w.kept
			}
			w.holds(t, w.Site(), w.backUp(t))
		},
	},
	{
		name: "removal of disks", kind: holdfast.KindGenerationDrop,
		ready: afterRestore,
		begin: func(t *testing.T, w *stepped) string {
			w.Await(t, w.owner.Key, w.undo(t), patience) // what it leaves is removed
			return ""
		},
		check: func(t *testing.T, w *stepped, _ service.Job) {
			w.content = w.kept
			w.holds(t, w.Site(), w.backUp(t))
		},
	},
	{
		name: "larger disk", kind: holdfast.KindVPSReshape, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) { w.power(t, w.vps, "running"); w.write(t) },
		begin: func(t *testing.T, w *stepped) string {
			w.grown++
			return w.queued(t, "vps", "disk", "grow", w.vps, disk0, "--bytes", fmt.Sprint(blank+int64(w.grown)*mib))
		},
		check: func(t *testing.T, w *stepped, _ service.Job) { w.holds(t, w.Site(), w.backUp(t)) },
	},
	{
		name: "further disk", kind: holdfast.KindVPSReshape, hypervisor: true,
		ready: func(t *testing.T, w *stepped) { w.NewVPS(t, w.owner.ID, "blank", "shaped-01", false) },
		begin: func(t *testing.T, w *stepped) string {
			return w.queued(t, "vps", "disk", "add", w.named(t, "shaped-01")[0], "--bytes", fmt.Sprint(mib))
		},
		check: func(t *testing.T, w *stepped, _ service.Job) { w.shaped(t, 2) },
	},
	{
		name: "less disks", kind: holdfast.KindVPSReshape, hypervisor: true,
		ready: func(t *testing.T, w *stepped) { w.NewVPS(t, w.owner.ID, "blank", "shaped-01", false, mib) },
		begin: func(t *testing.T, w *stepped) string {
			return w.queued(t, "vps", "disk", "remove", w.named(t, "shaped-01")[0], "disk1")
		},
		check: func(t *testing.T, w *stepped, _ service.Job) { w.shaped(t, 1) },
	},
}

// beforeRestore makes a backup to restore, and a change to be lost.
func (w *stepped) beforeRestore(t *testing.T) {
	t.Helper()
	w.power(t, w.vps, "running")
	w.write(t)
	w.backUp(t)
	w.kept = slices.Clone(w.content)
	w.write(t)
}

func (w *stepped) restoreInPlace(t *testing.T) string {
	t.Helper()
	return w.Call(t, w.owner.Key, http.MethodPost, "/api/v2/vps/"+w.vps+"/backups/"+w.list(t)[0]+"/actions/restore", nil).Queued(t)
}

func (w *stepped) undo(t *testing.T) string {
	t.Helper()
	return w.Call(t, w.owner.Key, http.MethodPost, "/api/v2/vps/"+w.vps+"/actions/undo-restore", nil).Queued(t)
}

// afterRestore: the VPS has been restored, and kept is what it held before.
func afterRestore(t *testing.T, w *stepped) {
	t.Helper()
	w.beforeRestore(t)
	w.Await(t, w.owner.Key, w.restoreInPlace(t), patience)
	await(t, "the disks of earlier restores to be removed", func() bool {
		sets, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(w.DiskFile(w.vps, disk0))), "gen-*"))
		return err == nil && len(sets) == 2
	})
	w.content, w.kept = w.kept, w.content
}

// shaped fails the test unless the VPS that is reshaped has so many disks, and
// ends it.
func (w *stepped) shaped(t *testing.T, disks int) {
	t.Helper()
	id := w.named(t, "shaped-01")[0]
	found, err := filepath.Glob(filepath.Join(filepath.Dir(w.DiskFile(id, disk0)), "*.qcow2"))
	if err != nil || len(found) != disks {
		t.Errorf("the disks are %v, %v", found, err)
	}
	w.deleteNamed(t, "shaped-01")
}
