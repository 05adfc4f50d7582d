package e2e

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/test/service"
)

// TestFull fills each place that the service writes to, one after the other,
// under a guest that never stops writing: operations fail and say so, the guest
// runs on, deleting works, and once there is room again so does all the rest.
func TestFull(t *testing.T) {
	w := &crowded{
		site: service.Small(t, "1g"), scratch: service.Small(t, "256m"),
		database: service.Small(t, "64m"), machines: service.Small(t, "1g"),
	}
	w.Service = service.New(t,
		service.Set("site", w.site), service.Set("host.scratch", w.scratch),
		service.Set("host.scratch_reserve_mib", "0"), // so that QEMU itself finds the place full

		service.Set("database", filepath.Join(w.database, "holdfast.db")), service.Set("host.machines", w.machines),
		service.Set("vault.bytes_per_second", "25000000"))
	w.owner = w.NewAccount(t, "owner")
	w.vps = w.NewVPS(t, w.owner.ID, w.GuestImage(t), "web-01", true, logDisk, logDisk, 2*logDisk)
	w.web = w.Web(t, w.owner.Key, w.vps)
	get(t, w.web+"/boots")
	startLog(t, w.web)
	t.Run("site", w.siteFull)
	t.Run("scratch", w.scratchFull)
	t.Run("database", w.databaseFull)
	t.Run("machines", w.machinesFull) // the last: the VPS is stopped for it
	w.Run(t, "vault", "check", "--account", w.owner.ID, "--read-data")
}

type crowded struct {
	*service.Service
	site, scratch, database, machines string

	owner    service.Account
	vps, web string
}

func (w *crowded) siteFull(t *testing.T) {
	first := backup(t, w.Service, w.owner.Key, w.vps)
	free := service.Fill(t, w.site, 8*mib)
	defer free()
	pause := service.WatchPauses(t, w.web)
	fill(t, w.web, "1")
	w.fails(t, w.Backup(t, w.owner.Key, w.vps), "site_full")
	service.Fill(t, w.site, 0)
	w.deletes(t, first)
	w.writes(t)
	pause.Check(t)
	if ids := w.backups(t); len(ids) != 0 {
		t.Errorf("the backups are %v", ids)
	}
	free()
	w.works(t)
}

// scratchFull: the copies of what the guest overwrites have no room, so that
// the point in time is lost each time it is tried, and the guest does not wait.
func (w *crowded) scratchFull(t *testing.T) {
	free := service.Fill(t, w.scratch, 2*mib)
	defer free()
	fill(t, w.web, "2")
	pause := service.WatchPauses(t, w.web)
	w.fails(t, w.Backup(t, w.owner.Key, w.vps), "scratch_exhausted")
	w.writes(t)
	pause.Check(t)
	w.left(t, filepath.Join(w.scratch, w.vps))
	free()
	w.works(t)
}

func (w *crowded) databaseFull(t *testing.T) {
	b := backup(t, w.Service, w.owner.Key, w.vps)
	pause := service.WatchPauses(t, w.web)
	free := service.Fill(t, w.database, 0)
	defer free()
	var p service.Problem
	path := "/api/v2/vps/" + w.vps + "/backups"
	for p.Code == "" { // the database's own file may have room for a few more rows
		a := w.Call(t, w.owner.Key, http.MethodPost, path, map[string]string{"note": "one too many"})
		if a.Status == http.StatusAccepted {
			w.Await(t, w.owner.Key, a.Queued(t), patience)
			continue
		}
		a.Decode(t, &p)
	}
	if p.Status != http.StatusInsufficientStorage || p.Code != "database_full" || p.Detail == "" {
		t.Errorf("the problem is %+v", p)
	}
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, path, nil) // reading goes on
	w.deletes(t, b)
	w.writes(t)
	pause.Check(t)
	free()
	// The service takes its reserve back first.
	var a service.Answer
	eventually(t, "a backup to be accepted again", func() bool {
		a = w.Call(t, w.owner.Key, http.MethodPost, path, nil)
		return a.Status != http.StatusInsufficientStorage
	})
	w.Await(t, w.owner.Key, a.Queued(t), patience)
	w.works(t)
}

// machinesFull: a restore that finds no room leaves nothing of its VM, and
// nothing of it counts.
func (w *crowded) machinesFull(t *testing.T) {
	b := backup(t, w.Service, w.owner.Key, w.vps)
	w.Run(t, "admin", "account", "set", w.owner.ID, "--limit-instances=1")
	w.Run(t, "admin", "vps", "stop", w.vps, "--wait")
	free := service.Fill(t, w.machines, 8*mib)
	defer free()
	path := "/api/v2/vps/" + w.vps + "/backups/" + b.BackupID + "/actions/restore-to-payg"
	w.fails(t, w.Call(t, w.owner.Key, http.MethodPost, path, nil).Queued(t), "host_disk_full")
	w.gone(t)
	free()
	if vm := restore(t, w.Service, w.owner.Key, w.vps, b.BackupID); get(t, w.Web(t, w.owner.Key, vm)+"/boots") == "" {
		t.Error("the restored VM does not know how often it booted")
	}
}

// fails waits for the end of a job, which must be this failure.
func (w *crowded) fails(t *testing.T, job, code string) {
	t.Helper()
	j := w.Until(t, w.owner.Key, job, patience, func(service.Job) bool { return false })
	if j.Status != "failed" || j.Error == nil || j.Error.Code != code || j.Error.Detail == "" {
		t.Fatalf("the job is %+v, with %+v", j, j.Error)
	}
	t.Logf("%s: %s", j.Error.Code, j.Error.Detail)
}

// deletes ends a backup through the API, after which it is not there.
func (w *crowded) deletes(t *testing.T, b service.BackupResult) {
	t.Helper()
	w.Want(t, http.StatusNoContent, w.owner.Key, http.MethodDelete, "/api/v2/vps/"+w.vps+"/backups/"+b.BackupID, nil)
	if slices.Contains(w.backups(t), b.BackupID) {
		t.Errorf("backup %s is still there", b.BackupID)
	}
}

// writes waits until the guest has written once more.
func (w *crowded) writes(t *testing.T) {
	t.Helper()
	before := get(t, w.web+"/log/count")
	eventually(t, "the guest to write", func() bool { return get(t, w.web+"/log/count") != before })
}

// works proves that there is nothing left of the want of space.
func (w *crowded) works(t *testing.T) {
	t.Helper()
	w.VerifyLog(t, w.owner, backup(t, w.Service, w.owner.Key, w.vps).BackupID)
}

func (w *crowded) backups(t *testing.T) []string {
	t.Helper()
	var v struct{ Backups []struct{ ID string } }
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/v2/vps/"+w.vps+"/backups", nil).Decode(t, &v)
	var ids []string
	for _, b := range v.Backups {
		ids = append(ids, b.ID)
	}
	return ids
}

// left fails the test when there is something in a directory.
func (w *crowded) left(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
	}
}

// gone waits until the VM of a failed restore has gone from the host.
func (w *crowded) gone(t *testing.T) {
	t.Helper()
	eventually(t, "the failed Cloud VM to be cleared away", func() bool {
		for _, m := range w.Machines(t) {
			if m.IsPayg && m.ServiceStatus != "terminated" {
				return false
			}
		}
		entries, err := os.ReadDir(w.machines)
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !strings.Contains(e.Name(), w.vps) && e.Name() != "filler" })
	})
}
