package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/test/service"
)

// mostWrite is how long a single write of a guest may take at most, whatever is
// slow or full on our side.
const mostWrite = 2 * time.Second

// TestQuiet: a guest that never stops writing does not notice a backup, whether
// its place is slow, its scratch too small, or its disk slow by itself.
func TestQuiet(t *testing.T) {
	// Of noise, which does not get smaller: a backup takes seconds at that rate.
	s := service.New(t, service.Set("vault.bytes_per_second", "1000000"))
	owner := s.NewAccount(t, "owner")
	w := &quiet{&powered{s, owner, s.NewVPS(t, owner.ID, s.GuestImage(t), "web-01", true, logDisk, logDisk, 2*logDisk), ""}}
	w.web = w.Web(t, owner.Key, w.vps)
	get(t, w.web+"/boots")
	startLog(t, w.web)
	t.Run("cancelled", w.cancelled)
	t.Run("slow place", w.slowPlace)
	t.Run("slow disk", w.slowDisk)
	t.Run("small scratch", w.smallScratch)
	t.Run("limited writes", w.limitedWrites)
	s.Run(t, "vault", "check", "--account", owner.ID, "--read-data")
}

type quiet struct{ *powered }

// again restarts the service with a setting changed.
func (w *quiet) again(t *testing.T, settings ...string) {
	t.Helper()
	w.Stop(t)
	for i := 0; i < len(settings); i += 2 {
		w.Override(settings[i], settings[i+1])
	}
	w.Start(t)
}

// begun queues a backup and returns its job when it has its point in time.
func (w *quiet) begun(t *testing.T) string {
	t.Helper()
	job := w.Backup(t, w.owner.Key, w.vps)
	j := w.Until(t, w.owner.Key, job, patience, func(j service.Job) bool { return j.ProgressDetails.Total > 0 })
	if j.Status != "in_progress" {
		t.Fatalf("the backup is not midway: %+v", j)
	}
	return job
}

// unnoticed is a watch over the guest; what it returns ends it.
func (w *quiet) unnoticed(t *testing.T) (check func()) {
	t.Helper()
	service.GuestWrites(t, w.web) // forgets
	began := time.Now()
	return func() {
		t.Helper()
		writes := service.GuestWrites(t, w.web)
		t.Logf("in %s: %s", time.Since(began).Round(time.Millisecond), writes)
		if writes.Writes < 30 || writes.Max > mostWrite {
			t.Errorf("the guest has noticed: %s", writes)
		}
	}
}

// cancelled: a backup that its customer cancels midway ends, and leaves no backup
// and nothing in the way of the next.
func (w *quiet) cancelled(t *testing.T) {
	check := w.unnoticed(t)
	job := w.begun(t)
	url := "/api/jobs/" + job + "/actions/cancel"
	w.Want(t, http.StatusAccepted, w.owner.Key, http.MethodPost, url, nil)
	j := w.Until(t, w.owner.Key, job, patience, func(service.Job) bool { return false })
	if j.Status != "failed" || j.Error == nil || j.Error.Code != "cancelled" {
		t.Fatalf("the cancelled backup is %+v, %+v", j, j.Error)
	}
	var list struct {
		Backups   []struct{ ID string }
		QuotaInfo struct{ Used int }
	}
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/v2/vps/"+w.vps+"/backups", nil).Decode(t, &list)
	if len(list.Backups) != 0 || list.QuotaInfo.Used != 0 {
		t.Errorf("left over: %+v", list)
	}
	var jobs struct {
		Data []struct {
			JobID       string
			IsCancelled bool
		}
	}
	w.Want(t, http.StatusOK, w.owner.Key, http.MethodGet, "/api/jobs?type=backup&resourceId="+w.vps, nil).Decode(t, &jobs)
	if len(jobs.Data) != 1 || jobs.Data[0].JobID != job || !jobs.Data[0].IsCancelled {
		t.Errorf("listed: %+v", jobs)
	}
	check()
}

// slowPlace: a vault that takes 1 MB/s makes a backup long, and nothing else.
func (w *quiet) slowPlace(t *testing.T) {
	check := w.unnoticed(t)
	began := time.Now()
	job := w.begun(t)
	stops := w.WatchStops(t, w.vps)
	b := w.result(t, w.Await(t, w.owner.Key, job, patience))
	if took := time.Since(began); took < 5*time.Second || b.TransferredBytes < 4*mib {
		t.Errorf("the backup took %s for %d bytes: nothing was slow", took, b.TransferredBytes)
	}
	stops.None(t)
	check()
	w.VerifyLog(t, w.owner, b.BackupID)
}

// slowDisk: while the guest's writes are slow its backup waits and says so, and
// goes on when they are not.
func (w *quiet) slowDisk(t *testing.T) {
	// From here on the reading takes the time.
	w.again(t, "host.write_latency_limit", "100ms", "host.backup_bytes_per_second", "4000000", "vault.bytes_per_second", "0")
	w.fill(t, 8, 1)
	job := w.begun(t)
	m := w.Monitor(t, w.vps)
	m.Throttle(t, 3, "disk1", "disk2")
	const note = "waiting because the VPS's writes take up to "
	waits := func(j service.Job) bool { return strings.Contains(j.ProgressDetails.Message, note) }
	if j := w.Until(t, w.owner.Key, job, patience, waits); j.Status != "in_progress" {
		t.Fatalf("the backup did not wait: %+v", j)
	}
	m.Throttle(t, 0, "disk1", "disk2")
	_ = m.Close() // never fails
	freed := time.Now()
	if j := w.Until(t, w.owner.Key, job, patience, func(j service.Job) bool { return !waits(j) }); j.Status == "failed" {
		t.Fatalf("the backup failed: %+v", j.Error)
	}
	t.Logf("the backup went on %s after the writes were fast", time.Since(freed).Round(time.Millisecond))
	w.VerifyLog(t, w.owner, w.result(t, w.Await(t, w.owner.Key, job, patience)).BackupID)
}

// smallScratch: what the guest overwrites has no room, so the point in time is
// given up, and the guest neither waits nor stops.
func (w *quiet) smallScratch(t *testing.T) {
	w.again(t, "host.write_latency_limit", "1s", "host.scratch_limit_mib", "4")
	w.fill(t, 8, 2)
	check := w.unnoticed(t)
	job := w.begun(t)
	stops := w.WatchStops(t, w.vps)
	w.fill(t, 8, 3)
	if j := w.Until(t, w.owner.Key, job, patience, func(service.Job) bool { return false }); j.Error == nil || j.Error.Code != "scratch_exhausted" {
		t.Fatalf("the backup is %+v", j)
	}
	w.writes(t)
	stops.None(t)
	check()
}

// limitedWrites: the same guest is backed up in a second try, during which it
// may write less, and is free again afterwards.
func (w *quiet) limitedWrites(t *testing.T) {
	const limit = 256 << 10
	// Read faster, so that what the guest may write meanwhile has room.
	w.again(t, "host.scratch_retry.guest_write_bytes_per_second", fmt.Sprint(limit), "host.backup_bytes_per_second", "12000000")
	job := w.begun(t)
	w.fill(t, 8, 4)
	note := fmt.Sprintf("again, with the VPS's writes limited to %d bytes per second", limit)
	j := w.Until(t, w.owner.Key, job, patience, func(j service.Job) bool { return strings.Contains(j.ProgressDetails.Message, note) })
	if j.Status != "in_progress" {
		t.Fatalf("the backup was not tried again: %+v", j)
	}
	if got := w.limit(t); got != limit {
		t.Errorf("the guest may write %d bytes per second", got)
	}
	b := w.result(t, w.Await(t, w.owner.Key, job, patience))
	w.VerifyLog(t, w.owner, b.BackupID)
	var said struct {
		WriteLatency struct {
			WriteLimit int
			During     struct{ Writes int }
		}
	}
	decode(t, w.Run(t, "admin", "backup", "show", b.BackupID, "--json"), &said)
	if l := said.WriteLatency; l.WriteLimit != limit || l.During.Writes == 0 {
		t.Errorf("the backup says %+v", l)
	}
	if got := w.limit(t); got != 0 {
		t.Errorf("after the backup the guest may write %d bytes per second", got)
	}
	w.writes(t)
}

// fill has the guest overwrite the beginning of its fourth disk.
func (w *quiet) fill(t *testing.T, mib, seed int) {
	t.Helper()
	get(t, fmt.Sprintf("%s/fill?dev=/dev/vdd&mb=%d&seed=%d", w.web, mib, seed))
}

// limit of the guest's writes, as the hypervisor tells it.
func (w *quiet) limit(t *testing.T) int64 {
	t.Helper()
	m := w.Monitor(t, w.vps)
	defer m.Close() //nolint:errcheck // never fails
	return m.WriteLimit(t)
}

// writes waits until the guest has written once more.
func (w *quiet) writes(t *testing.T) {
	t.Helper()
	before := get(t, w.web+"/log/count")
	eventually(t, "the guest to write", func() bool { return get(t, w.web+"/log/count") != before })
}
