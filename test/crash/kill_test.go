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
	rate = "25000000"
	// repeatable is how much a killed service may upload again.
	repeatable = 64 * mib
)

// TestKillBackup kills the service five times during one backup of a guest that
// never stops writing.
func TestKillBackup(t *testing.T) {
	w := newWorld(t, service.Set("vault.bytes_per_second", rate))
	pause := w.watchPauses(t)
	job := w.Backup(t, w.owner.Key, w.vps)
	written := w.killDuring(t, job)
	var b service.BackupResult
	service.Answer{Body: w.Await(t, w.owner.Key, job, patience).Result}.Decode(t, &b)
	written += w.written(t)
	if again := written - w.vaultBytes(t); again > kills*repeatable+16*mib {
		t.Errorf("%d MiB were uploaded again after %d kills", again/mib, kills)
	} else {
		t.Logf("%d MiB were uploaded again after %d kills", again/mib, kills)
	}
	pause.check(t)
	if ids := w.backups(t); !slices.Equal(ids, []string{b.BackupID}) {
		t.Errorf("the backups are %v, the job's is %s", ids, b.BackupID)
	}
	w.VerifyLog(t, w.owner, b.BackupID)
	w.check(t)
}

// TestKillRestore kills the service five times during one restore.
func TestKillRestore(t *testing.T) {
	w := newWorld(t, service.Set("vault.bytes_per_second", rate))
	put(t, w.web+"/content", "kept")
	var b service.BackupResult
	service.Answer{Body: w.Await(t, w.owner.Key, w.Backup(t, w.owner.Key, w.vps), patience).Result}.Decode(t, &b)
	pause := w.watchPauses(t)
	job := w.Call(t, w.owner.Key, http.MethodPost, "/api/v2/vps/"+w.vps+"/backups/"+b.BackupID+"/actions/restore-to-payg", nil).Queued(t)
	w.killDuring(t, job)
	var r struct{ VPSID string }
	service.Answer{Body: w.Await(t, w.owner.Key, job, patience).Result}.Decode(t, &r)
	pause.check(t)
	if made := w.cloudVMs(t); !slices.Equal(made, []string{r.VPSID}) {
		t.Errorf("the Cloud VMs are %v, the job's is %s", made, r.VPSID)
	}
	if got := get(t, w.Web(t, w.owner.Key, r.VPSID)+"/content"); got != "kept" {
		t.Errorf("the restored VM serves %q", got)
	}
	w.check(t)
}

// TestKillWhileStopped kills the service between stop and cont: the watchdog
// resumes the guest, and the backup completes after the restart.
func TestKillWhileStopped(t *testing.T) {
	w := newWorld(t, service.Binary(service.Build(t, "faults")), service.Env("HOLDFAST_FAULT=qemu.begin.stopped"))
	pause := w.watchPauses(t)
	job := w.Backup(t, w.owner.Key, w.vps)
	select {
	case <-w.Gone():
	case <-time.After(patience):
		t.Fatalf("the service was not killed\n%s", w.Log(t))
	}
	// That the guest writes again within its five seconds, pause.check tells.
	for before := count(t, w.web); count(t, w.web) == before; {
	}
	w.Environ()
	w.Start(t)
	w.Await(t, w.owner.Key, job, patience)
	pause.check(t)
	if ids := w.backups(t); len(ids) != 1 {
		t.Errorf("the backups are %v", ids)
	}
	w.check(t)
}

// killDuring kills and restarts the service at five random points between 10
// and 90 percent of the job's bytes, and returns what it had written by then.
func (w *world) killDuring(t *testing.T, job string) (written int64) {
	t.Helper()
	at := make([]float64, kills)
	for i := range at {
		at[i] = 0.1 + 0.8*rand.Float64()
	}
	slices.Sort(at)
	t.Logf("killing at %.2f of the bytes", at)
	for i, share := range at {
		j := w.Until(t, w.owner.Key, job, patience, func(j service.Job) bool {
			p := j.ProgressDetails
			return p.Total > 0 && float64(p.Current) >= share*float64(p.Total)
		})
		if j.Status != "in_progress" {
			t.Fatalf("the job is %s before kill %d at %.2f of its bytes: %+v", j.Status, i+1, share, j)
		}
		written += w.written(t)
		w.Kill(t)
		w.Start(t)
	}
	return written
}
