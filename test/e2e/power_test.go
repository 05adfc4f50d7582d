package e2e

import (
	"net/http"
	"testing"

	"holdfast/test/service"
)

// slow is a vault's rate in bytes per second at which a backup of 64 MiB takes
// long enough for something to happen meanwhile.
const slow = "12000000"

// TestPower: whatever becomes of the guest or of QEMU, during backups and
// between them, what is kept is an exact prefix of what the guest wrote. One
// guest goes through it all.
func TestPower(t *testing.T) {
	s := service.New(t, service.Set("vault.bytes_per_second", slow))
	owner := s.NewAccount(t, "owner")
	vps := s.NewVPS(t, owner.ID, s.GuestImage(t), "web-01", true, logDisk, logDisk, 2*logDisk)
	w := &powered{s, owner, vps, s.Web(t, owner.Key, vps)}
	get(t, w.web+"/boots")
	t.Run("off from inside", w.offFromInside)
	t.Run("stop and start", w.stopAndStart)
	t.Run("forced off and on", w.forcedOffAndOn)
	t.Run("host dies", w.hostDies)
	t.Run("reboot", w.reboot)
	t.Run("snapshots", w.snapshots)
	t.Run("restores", w.restores)
	s.Run(t, "vault", "check", "--account", owner.ID, "--read-data")
}

type powered struct {
	*service.Service
	owner    service.Account
	vps, web string
}

// offFromInside: a guest that powers itself off in the middle does not take the
// point in time with it, and the VPS is stopped afterwards.
func (w *powered) offFromInside(t *testing.T) {
	job := w.midway(t, "1")
	get(t, w.web+"/poweroff")
	b := w.result(t, w.Await(t, w.owner.Key, job, patience))
	if b.Incremental != "full" || b.Consistency != "filesystem" {
		t.Errorf("the backup is %+v", b)
	}
	w.VerifyLog(t, w.owner, b.BackupID)
	w.stateBecomes(t, "stopped")
	w.act(t, "/actions/start")
	w.stateBecomes(t, "running")
}

// reboot: a guest that boots anew in the same hypervisor process takes nothing
// from the point in time.
func (w *powered) reboot(t *testing.T) {
	boots := get(t, w.web+"/boots")
	job := w.midway(t, "4")
	get(t, w.web+"/reboot")
	eventually(t, "the guest to boot", func() bool { return get(t, w.web+"/boots") != boots })
	b := w.result(t, w.Await(t, w.owner.Key, job, patience))
	if b.Incremental != "incremental" || b.Consistency != "filesystem" {
		t.Errorf("the backup is %+v", b)
	}
	w.VerifyLog(t, w.owner, b.BackupID)
}

// forcedOffAndOn: each of both ends the point in time, so the backup begins anew,
// first of the stopped VPS and then of the one that runs again.
func (w *powered) forcedOffAndOn(t *testing.T) {
	job := w.midway(t, "5")
	w.act(t, "/actions/stop")
	w.act(t, "/actions/start")
	b := w.result(t, w.Await(t, w.owner.Key, job, patience))
	w.VerifyLog(t, w.owner, b.BackupID)
	// Whatever the point was of, the next backup builds on it.
	get(t, w.web+"/boots")
	if b := backup(t, w.Service, w.owner.Key, w.vps); b.Incremental != "incremental" {
		t.Errorf("the backup after it is %+v", b)
	}
}

// stopAndStart: a customer's power actions are never refused for a backup,
// which completes, or says why not.
func (w *powered) stopAndStart(t *testing.T) {
	get(t, w.web+"/boots")
	job := w.midway(t, "2")
	w.act(t, "/actions/shutdown")
	w.act(t, "/actions/start")
	get(t, w.web+"/boots")
	j := w.Until(t, w.owner.Key, job, patience, func(service.Job) bool { return false })
	if j.Status == "failed" {
		if t.Logf("the backup failed: %+v", j.Error); j.Error == nil || j.Error.Code != "vps_state_changed" {
			t.Errorf("the backup failed with %+v", j.Error)
		}
		return
	}
	b := w.result(t, j)
	t.Logf("the backup is %+v", b)
	w.VerifyLog(t, w.owner, b.BackupID)
}

// hostDies: everything on the host is gone at once. When it comes up the guest that
// ran boots by itself; change tracking has not survived, and the next backup finds
// out what differs by reading everything.
func (w *powered) hostDies(t *testing.T) {
	startLog(t, w.web)
	w.Kill(t)
	w.KillHypervisor(t, w.vps)
	w.Start(t)
	get(t, w.web+"/boots")
	startLog(t, w.web)
	b := backup(t, w.Service, w.owner.Key, w.vps)
	if b.Incremental != "repair" || b.Consistency != "filesystem" {
		t.Errorf("the backup is %+v", b)
	}
	stopLog(t, w.web)
	w.VerifyLog(t, w.owner, b.BackupID)
	if b := backup(t, w.Service, w.owner.Key, w.vps); b.Incremental != "incremental" {
		t.Errorf("the backup after it is %+v", b)
	}
}

// midway begins a backup of new data while the guest writes, and returns its
// job when it has its point in time.
func (w *powered) midway(t *testing.T, seed string) string {
	t.Helper()
	fill(t, w.web, seed)
	startLog(t, w.web)
	job := w.Backup(t, w.owner.Key, w.vps)
	j := w.Until(t, w.owner.Key, job, patience, func(j service.Job) bool { return j.ProgressDetails.Current > 0 })
	if j.Status != "in_progress" {
		t.Fatalf("the backup is not midway: %+v", j)
	}
	return job
}

func (w *powered) result(t *testing.T, j service.Job) service.BackupResult {
	t.Helper()
	var b service.BackupResult
	service.Answer{Body: j.Result}.Decode(t, &b)
	return b
}

// stateBecomes waits until the API tells this power state.
func (w *powered) stateBecomes(t *testing.T, want string) {
	t.Helper()
	eventually(t, "the VPS to be "+want, func() bool {
		var v struct{ PowerState string }
		w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/v2/vps/"+w.vps, nil).Decode(t, &v)
		return v.PowerState == want
	})
}
