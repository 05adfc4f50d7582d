// Package crash kills the real service in the middle of its work, and shows
// that every operation still ends once, and well.
package crash

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"holdfast/test/service"
)

const (
	mib      = int64(1) << 20
	kills    = 5
	patience = 3 * time.Minute
	// rate slows the vault down, so that there is a middle to be killed in.
	rate = "32000000"
	// repeatable is how much a killed service may upload again.
	repeatable = 64 * mib
)

// TestKills goes through all deaths in one world, for guests take long to boot:
// each part uses what the one before left, and takes the place of a test.
func TestKills(t *testing.T) {
	w := newWorld(t)
	put(t, w.web+"/content", "kept")
	if !t.Run("backup", w.killBackup) || !t.Run("restore", w.killRestore) {
		return // what follows would say nothing new
	}
	w.Override("vault.bytes_per_second", "0")
	t.Run("stopped", w.killWhileStopped)
	w.Override("vault.bytes_per_second", rate)
	t.Run("hypervisor", w.killHypervisor)
	w.check(t)
}

// killBackup kills the service five times during one backup of a guest that
// never stops writing.
func (w *world) killBackup(t *testing.T) {
	pause := service.WatchPauses(t, w.web)
	job := w.Backup(t, w.owner.Key, w.vps)
	written := w.killDuring(t, job)
	w.first = w.completed(t, job)
	written += w.written(t)
	// At the least, the random bytes had to be written once; all the rest of the
	// disks is taken for repeated, so this is never too little.
	again := written - dataDisks*dataMiB*mib
	if t.Logf("at most %d MiB were uploaded again after %d kills", again/mib, kills); again > kills*repeatable {
		t.Errorf("of %d MiB uploaded, %d are too many", written/mib, again/mib)
	}
	pause.Check(t)
	if ids := w.backups(t); !slices.Equal(ids, []string{w.first.BackupID}) {
		t.Errorf("the backups are %v, the job's is %s", ids, w.first.BackupID)
	}
	w.entry = w.VerifyLog(t, w.owner, w.first.BackupID)
	w.check(t)
}

// killRestore kills the service five times during one restore of that backup.
func (w *world) killRestore(t *testing.T) {
	pause := service.WatchPauses(t, w.web)
	job := w.Call(t, w.owner.Key, http.MethodPost, "/api/v2/vps/"+w.vps+"/backups/"+w.first.BackupID+"/actions/restore-to-payg", nil).Queued(t)
	put(t, w.web+"/content", "changed")
	w.killDuring(t, job)
	var r struct{ VPSID string }
	service.Answer{Body: w.Await(t, w.owner.Key, job, patience).Result}.Decode(t, &r)
	pause.Check(t)
	if made := w.cloudVMs(t); !slices.Equal(made, []string{r.VPSID}) {
		t.Errorf("the Cloud VMs are %v, the job's is %s", made, r.VPSID)
	}
	restored := w.Web(t, w.owner.Key, r.VPSID)
	if got := get(t, restored+"/content"); got != "kept" {
		t.Errorf("the restored VM serves %q", got)
	}
	// The guest reads its log to the end before it goes on with it; the last entry
	// may be on the first disk only, and does not count then.
	if got := number(t, ask(t, restored+"/log/start?dev=/dev/vdb&dev=/dev/vdc")); got != w.entry && got+1 != w.entry {
		t.Errorf("the restored log ends with %d, the backup's with %d", got, w.entry)
	}
	w.check(t)
	w.Run(t, "admin", "vps", "delete", r.VPSID, "--wait")
}

// killWhileStopped kills the service between stop and cont, when the guest's
// file systems are frozen too: the watchdog resumes and thaws the guest, and the
// backup completes after the restart.
func (w *world) killWhileStopped(t *testing.T) {
	w.Stop(t)
	w.Environ("HOLDFAST_FAULT=qemu.begin.stopped")
	w.Start(t)
	pause := service.WatchPauses(t, w.web)
	job := w.Backup(t, w.owner.Key, w.vps)
	select {
	case <-w.Gone():
	case <-time.After(patience):
		t.Fatalf("the service was not killed\n%s", w.Log(t))
	}
	died := time.Now()
	put(t, w.web+"/content", "thawed")
	if took := time.Since(died); took > 5*time.Second {
		t.Errorf("the guest's file system took a write %s after the service's death", took)
	}
	// That the guest writes again within its five seconds, pause.Check tells.
	for before := get(t, w.web+"/log/count"); get(t, w.web+"/log/count") == before; {
	}
	w.Environ()
	w.Start(t)
	b := w.completed(t, job)
	pause.Check(t)
	if ids := w.backups(t); len(ids) != 2 || !slices.Contains(ids, b.BackupID) {
		t.Errorf("the backups are %v, the job's is %s", ids, b.BackupID)
	}
	if b.Incremental != "incremental" {
		t.Errorf("change tracking was lost: %+v", b)
	}
	w.entry = w.VerifyLog(t, w.owner, b.BackupID)
}

// killHypervisor kills the service and QEMU at once, as a power cut of the host
// does: the restarted service boots the guest, and the backup completes with a
// new point in time.
func (w *world) killHypervisor(t *testing.T) {
	w.Stop(t)
	w.Start(t)
	w.fill(t, 2, dataDisks)
	job := w.Backup(t, w.owner.Key, w.vps)
	w.reach(t, job, 0.1)
	w.Kill(t)
	w.KillHypervisor(t, w.vps)
	died := time.Now()
	w.Start(t)
	get(t, w.web+"/boots")
	b := w.completed(t, job)
	if b.Incremental != "repair" {
		t.Errorf("after the hypervisor's death the backup is %+v", b)
	}
	if at := w.createdAt(t, b.BackupID); !at.After(died) {
		t.Errorf("the point in time is of %s, but it died at %s", at, died)
	}
	if ids := w.backups(t); len(ids) != 3 || !slices.Contains(ids, b.BackupID) {
		t.Errorf("the backups are %v, the job's is %s", ids, b.BackupID)
	}
	if entry := w.VerifyLog(t, w.owner, b.BackupID); entry < w.entry {
		t.Errorf("the log ends with %d, that of the backup before with %d", entry, w.entry)
	}
}

// killDuring kills and restarts the service at five points between 10 and 90
// percent of the job's bytes, at random in fifths, and returns what the killed
// processes had written. A vault takes a pack at once, so a job is found up to a
// pack further than was meant.
func (w *world) killDuring(t *testing.T, job string) (written int64) {
	t.Helper()
	const fifth = 0.65 / kills
	before := w.written(t)
	for n := range kills {
		at := 0.1 + fifth*(float64(n)+rand.Float64())
		reached := w.reach(t, job, at)
		w.freeze(t) // so that nothing is written behind our back
		wrote, kept := w.written(t)-before, w.vaultBytes(t)
		w.Kill(t)
		t.Logf("kill at %.2f of the bytes, meant at %.2f; the process wrote %d MiB, the vault holds %d MiB", reached, at, wrote/mib, kept/mib)
		written, before = written+wrote, 0
		w.Start(t)
		w.moved(t, job, reached)
	}
	return written
}

// reach waits until a share of the job's bytes is done.
func (w *world) reach(t *testing.T, job string, at float64) float64 {
	t.Helper()
	j := w.Until(t, w.owner.Key, job, patience, func(j service.Job) bool { return share(j) >= at })
	if j.Status != "in_progress" {
		t.Fatalf("the job is %s before %.2f of its bytes: %+v", j.Status, at, j)
	}
	return share(j)
}

// moved waits until a new process has taken the job up: what the dead one said
// of it would stand for its own.
func (w *world) moved(t *testing.T, job string, from float64) {
	t.Helper()
	w.Until(t, w.owner.Key, job, patience, func(j service.Job) bool { return share(j) != from })
}

func share(j service.Job) float64 {
	if p := j.ProgressDetails; p.Total > 0 {
		return float64(p.Current) / float64(p.Total)
	}
	return 0
}
