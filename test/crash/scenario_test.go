package crash

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"holdfast"
	"holdfast/test/service"
)

// scenario is one operation to be killed at each of its steps.
type scenario struct {
	name string
	kind holdfast.Kind
	// ready brings the world into the state that begin needs; it may be nil.
	ready func(t *testing.T, w *stepped)
	// begin queues the operation and returns its job; "" when it has none that a
	// customer sees.
	begin func(t *testing.T, w *stepped) (job string)
	// check proves that the operation has done what it should, once.
	check func(t *testing.T, w *stepped, j service.Job)
	// hypervisor: it works with one, which is killed too. may is how the operation
	// may fail then.
	hypervisor bool
	may        []string
}

// scenarios are all: a kind without one fails TestEveryKindIsKilled.
var scenarios = slices.Concat(dataScenarios, snapshotScenarios, replaceScenarios)

// dataScenarios are those of VPSs and their backups.
var dataScenarios = []scenario{
	{
		name: "backup", kind: holdfast.KindBackup, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) { w.power(t, w.vps, "running"); w.write(t) },
		begin: func(t *testing.T, w *stepped) string { return w.Backup(t, w.owner.Key, w.vps) },
		check: backedUp,
	},
	{
		name: "backup of a stopped VPS", kind: holdfast.KindBackup, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) { w.power(t, w.vps, "running"); w.write(t); w.power(t, w.vps, "stopped") },
		begin: func(t *testing.T, w *stepped) string { return w.Backup(t, w.owner.Key, w.vps) },
		check: backedUp,
	},
	{
		name: "backup of a guest with an agent", kind: holdfast.KindBackup,
		ready: func(t *testing.T, w *stepped) { w.bootLinux(t) },
		begin: func(t *testing.T, w *stepped) string { return w.Backup(t, w.owner.Key, w.linux) },
		check: func(t *testing.T, w *stepped, _ service.Job) { // the guest goes on, thawed
			put(t, w.Web(t, w.owner.Key, w.linux)+"/content", "thawed")
		},
	},
	{
		name: "deletion", kind: holdfast.KindBackupDelete,
		ready: func(t *testing.T, w *stepped) { w.backUp(t) },
		begin: func(t *testing.T, w *stepped) string { w.deleteNewest(t); return "" },
		check: func(t *testing.T, w *stepped, _ service.Job) { w.manifests(t, w.Site()) },
	},
	{
		name: "copy", kind: holdfast.KindCopy,
		begin: func(t *testing.T, w *stepped) string { w.backUp(t); return "" },
		check: func(t *testing.T, w *stepped, _ service.Job) { w.holds(t, w.cellar, w.list(t)[0]) },
	},
	{
		name: "deletion of a copy", kind: holdfast.KindCopyDelete,
		ready: func(t *testing.T, w *stepped) {
			id := w.backUp(t)
			await(t, "the copy", func() bool { return w.manifest(w.cellar, id) })
		},
		begin: func(t *testing.T, w *stepped) string { w.deleteNewest(t); return "" },
		check: func(t *testing.T, w *stepped, _ service.Job) { w.manifests(t, w.cellar) },
	},
	{
		name: "collection", kind: holdfast.KindVaultCollect,
		ready: func(t *testing.T, w *stepped) { w.backUp(t) },
		begin: func(t *testing.T, w *stepped) string { w.deleteNewest(t); return "" },
		check: func(t *testing.T, w *stepped, _ service.Job) { w.Run(t, "vault", "check", "--read-data") },
	},
	{
		name: "restore", kind: holdfast.KindRestoreToPayg, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) { w.backUp(t) },
		begin: func(t *testing.T, w *stepped) string {
			path := "/api/v2/vps/" + w.vps + "/backups/" + w.list(t)[0] + "/actions/restore-to-payg"
			return w.Call(t, w.owner.Key, http.MethodPost, path, nil).Queued(t)
		},
		check: restored,
	},
	{
		name: "creation", kind: holdfast.KindVPSCreate, hypervisor: true,
		begin: func(t *testing.T, w *stepped) string {
			return w.queued(t, "vps", "create", "--account", w.owner.ID, "--image", "blank", "--name", "made-01", "--memory-mib", "64", "--start")
		},
		check: func(t *testing.T, w *stepped, _ service.Job) { w.only(t, "made-01", 1); w.deleteNamed(t, "made-01") },
	},
	{
		name: "start", kind: holdfast.KindVPSStart, hypervisor: true,
		ready: func(t *testing.T, w *stepped) { w.power(t, w.vps, "stopped") },
		begin: func(t *testing.T, w *stepped) string { return w.queued(t, "vps", "start", w.vps) },
		check: func(t *testing.T, w *stepped, _ service.Job) { w.holds(t, w.Site(), w.backUp(t)) },
	},
	{
		name: "stop", kind: holdfast.KindVPSStop, hypervisor: true,
		ready: func(t *testing.T, w *stepped) { w.power(t, w.vps, "running") },
		begin: func(t *testing.T, w *stepped) string { return w.queued(t, "vps", "stop", w.vps, "--force") },
		check: func(t *testing.T, w *stepped, _ service.Job) {
			await(t, "the VPS to be stopped", func() bool { return w.state(t, w.vps).PowerState == "stopped" })
		},
	},
	{
		name: "restart", kind: holdfast.KindVPSRestart, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) { w.power(t, w.vps, "running"); w.write(t) },
		begin: func(t *testing.T, w *stepped) string {
			return w.Call(t, w.owner.Key, http.MethodPost, "/api/v2/vps/"+w.vps+"/actions/restart", map[string]bool{"force": true}).Queued(t)
		},
		check: func(t *testing.T, w *stepped, _ service.Job) { w.holds(t, w.Site(), w.backUp(t)) },
	},
	{
		name: "reset", kind: holdfast.KindVPSReset, hypervisor: true, may: []string{"vps_state_changed"},
		ready: func(t *testing.T, w *stepped) { w.power(t, w.vps, "running"); w.write(t) },
		begin: func(t *testing.T, w *stepped) string {
			return w.Call(t, w.owner.Key, http.MethodPost, "/api/v2/vps/"+w.vps+"/actions/reset", nil).Queued(t)
		},
		check: func(t *testing.T, w *stepped, _ service.Job) { w.holds(t, w.Site(), w.backUp(t)) },
	},
	{
		name: "end", kind: holdfast.KindVPSDelete, hypervisor: true,
		ready: func(t *testing.T, w *stepped) { w.NewVPS(t, w.owner.ID, "blank", "doomed-01", true) },
		begin: func(t *testing.T, w *stepped) string { return w.queued(t, "vps", "delete", w.named(t, "doomed-01")[0]) },
		check: func(t *testing.T, w *stepped, _ service.Job) { w.only(t, "doomed-01", 0) },
	},
}

// backedUp: the newest backup holds what the disk held, and is the only one of
// its job.
func backedUp(t *testing.T, w *stepped, j service.Job) {
	t.Helper()
	if j.Status != "completed" {
		return // as it may
	}
	var b service.BackupResult
	service.Answer{Body: j.Result}.Decode(t, &b)
	if ids := w.list(t); len(ids) == 0 || ids[0] != b.BackupID {
		t.Errorf("the backups are %v, the job's is %s", ids, b.BackupID)
	}
	w.holds(t, w.Site(), b.BackupID)
}

// restored: there is one Cloud VM with the bytes of the backup, or after a failure
// none.
func restored(t *testing.T, w *stepped, j service.Job) {
	t.Helper()
	var made []string
	for _, m := range w.Machines(t) {
		if m.IsPayg && m.ServiceStatus != "terminated" {
			made = append(made, m.ID)
		}
	}
	if j.Status == "completed" {
		var r struct{ VPSID string }
		service.Answer{Body: j.Result}.Decode(t, &r)
		if len(made) != 1 || made[0] != r.VPSID {
			t.Fatalf("the Cloud VMs are %v, the job's is %s", made, r.VPSID)
		}
		w.diskHolds(t, r.VPSID)
	}
	for _, id := range made {
		w.Run(t, "admin", "vps", "delete", id, "--wait")
	}
}

// queued runs an operator's command and returns its job.
func (w *stepped) queued(t *testing.T, args ...string) string {
	t.Helper()
	var v struct{ JobID string }
	if err := json.Unmarshal(w.Run(t, append(append([]string{"admin"}, args...), "--json")...), &v); err != nil {
		t.Fatal(err)
	}
	return v.JobID
}

// list are the ids of the VPS's backups, the newest first.
func (w *stepped) list(t *testing.T) []string {
	t.Helper()
	return w.listOf(t, w.vps)
}

// prune keeps a VPS from using up its slots.
func (w *stepped) prune(t *testing.T, vps string) {
	t.Helper()
	ids := w.listOf(t, vps)
	if len(ids) < 30 {
		return
	}
	for _, id := range ids[3:] {
		w.Want(t, http.StatusNoContent, w.owner.Key, http.MethodDelete, "/api/v2/vps/"+vps+"/backups/"+id, nil)
	}
	await(t, "the deletions", func() bool {
		for _, id := range ids[3:] {
			if w.manifest(w.Site(), id) || w.manifest(w.cellar, id) {
				return false
			}
		}
		return true
	})
}

func (w *stepped) listOf(t *testing.T, vps string) []string {
	t.Helper()
	var v struct{ Backups []struct{ ID string } }
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/v2/vps/"+vps+"/backups", nil).Decode(t, &v)
	var ids []string
	for _, b := range v.Backups {
		ids = append(ids, b.ID)
	}
	return ids
}

func (w *stepped) deleteNewest(t *testing.T) {
	t.Helper()
	w.Want(t, http.StatusNoContent, w.owner.Key, http.MethodDelete, "/api/v2/vps/"+w.vps+"/backups/"+w.list(t)[0], nil)
}

// manifests fails the test when a place has another backup than the API tells of.
func (w *stepped) manifests(t *testing.T, site string) {
	t.Helper()
	live := map[string]bool{}
	for _, id := range w.list(t) {
		live[id] = true
	}
	found, err := filepath.Glob(filepath.Join(site, w.owner.ID, "backups", "bkp_*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if id := filepath.Base(path); !live[id] && w.linux == "" {
			t.Errorf("backup %s was deleted, and is still at %s", id, site)
		}
	}
}

func (w *stepped) manifest(site, id string) bool {
	found, err := filepath.Glob(filepath.Join(site, w.owner.ID, "backups", id))
	return err == nil && len(found) > 0
}

// named are the VPSs of a name that are not terminated.
func (w *stepped) named(t *testing.T, name string) (ids []string) {
	t.Helper()
	for _, m := range w.Machines(t) {
		if m.Name == name && m.ServiceStatus != "terminated" {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func (w *stepped) only(t *testing.T, name string, n int) {
	t.Helper()
	if ids := w.named(t, name); len(ids) != n {
		t.Errorf("%s is %v", name, ids)
	}
}

func (w *stepped) deleteNamed(t *testing.T, name string) {
	t.Helper()
	for _, id := range w.named(t, name) {
		w.Run(t, "admin", "vps", "delete", id, "--wait")
	}
}

// bootLinux boots a guest that has an agent, the first time it is needed.
func (w *stepped) bootLinux(t *testing.T) {
	t.Helper()
	if w.linux == "" {
		w.linux = w.NewVPS(t, w.owner.ID, w.GuestImage(t), "linux-01", true)
	} else {
		w.Run(t, "admin", "vps", "start", w.linux, "--wait") // a hypervisor may have been killed meanwhile
	}
	get(t, w.Web(t, w.owner.Key, w.linux)+"/boots")
}
