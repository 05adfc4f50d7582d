package api_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

func (b *bench) inPlace(bk holdfast.Backup) string {
	return "/api/v2/vps/" + bk.VPSID.String() + "/backups/" + bk.ID.String() + "/actions/restore"
}

func TestRestoreInPlaceAndUndo(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	bk := b.insertBackup(b.vps)
	undo := "/api/v2/vps/" + b.vps.ID.String() + "/actions/undo-restore"
	b.call("POST", undo, b.full, "").want(409, "nothing_to_undo")
	b.call("POST", b.inPlace(bk), b.full, `{"suspend":true}`).want(400, "invalid_request")
	b.call("POST", b.inPlace(bk), b.full, `[]`).want(400, "invalid_request")

	first := b.call("POST", b.inPlace(bk), b.backup, "", key("r")).want(202, "")
	again := b.call("POST", b.inPlace(bk), b.backup, "{}", key("r")).want(202, "")
	if string(first.raw) != string(again.raw) {
		t.Errorf("the same request twice: %s, %s", first.raw, again.raw)
	}
	for _, name := range []string{"canRestoreInPlace", "canCreateBackup"} {
		if got := b.gate(b.full, name); got != "operation_in_progress" {
			t.Errorf("%s: %q", name, got)
		}
	}
	b.call("POST", b.inPlace(bk), b.full, "").want(409, "operation_in_progress")
	b.call("POST", undo, b.full, "").want(409, "operation_in_progress")
	b.call("DELETE", "/api/v2/vps/"+b.vps.ID.String()+"/backups/"+bk.ID.String(), b.full, "").want(409, "operation_in_progress")

	b.claim(holdfast.KindRestoreInPlace).done(holdfast.InPlaceReport{Power: holdfast.PowerRunning, BytesWritten: 5})
	job := b.call("GET", first.text("operation.pollUrl"), b.full, "").want(200, "")
	if job.text("status") != "completed" || job.text("type") != "restore_in_place" || job.text("resource.id") != b.vps.ID.String() ||
		job.text("result.backupId") != bk.ID.String() || job.text("result.powerState") != "running" || job.text("result.undoUntil") == "" {
		t.Errorf("the job: %s", job.raw)
	}
	second := b.call("POST", undo, b.backup, "").want(202, "")
	b.claim(holdfast.KindRestoreUndo).done(holdfast.MachineReport{Power: holdfast.PowerStopped})
	job = b.call("GET", second.text("operation.pollUrl"), b.full, "").want(200, "")
	if job.text("status") != "completed" || job.text("type") != "restore_undo" || job.text("result.powerState") != "stopped" {
		t.Errorf("the job: %s", job.raw)
	}
	b.call("POST", undo, b.full, "").want(409, "nothing_to_undo")
}

func TestRestoreInPlaceRefusals(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	bk := b.insertBackup(b.vps)
	pending := b.insertBackup(b.vps, func(bk *holdfast.Backup) { bk.Status = holdfast.BackupFailed })
	less := b.insertBackup(b.vps, func(bk *holdfast.Backup) { bk.Disks = bk.Disks[:1] })
	large := b.insertBackup(b.vps, func(bk *holdfast.Backup) { bk.DataBytes = 100 * holdfast.GiB })
	b.call("POST", b.inPlace(pending), b.full, "").want(409, "backup_not_restorable")
	b.call("POST", b.inPlace(less), b.full, "").want(409, "backup_not_restorable")
	b.ok(b.control.ReportRoom(b.ctx(), b.host, 50*holdfast.GiB))
	a := b.call("POST", b.inPlace(large), b.full, "").want(507, "host_disk_full")
	if !strings.Contains(a.text("detail"), "50.0 GiB") {
		t.Errorf("the refusal does not say what there is: %s", a.raw)
	}
	for service, code := range map[holdfast.ServiceStatus]string{
		holdfast.ServiceSuspended: "service_suspended", holdfast.ServiceTerminated: "service_terminated",
	} {
		b.service(service)
		b.call("POST", b.inPlace(bk), b.full, "").want(409, code)
		if got := b.gate(b.full, "canRestoreInPlace"); got != code {
			t.Errorf("%s: %q", service, got)
		}
	}
	b.service(holdfast.ServiceActive)
	// A power action that is under way comes first.
	if _, err := b.control.StopVPS(b.ctx(), control.StopVPSInput{VPS: b.vps.ID.String()}); err != nil {
		t.Fatal(err)
	}
	b.call("POST", b.inPlace(bk), b.full, "").want(409, "operation_in_progress")
}

func TestRestoreFromAnotherVPS(t *testing.T) {
	b := newBench(t, rate(100_000, 10_000))
	source := b.insertVPS(b.account, "old-web")
	bk := b.insertBackup(source, func(bk *holdfast.Backup) { bk.Note = "the last" })
	b.insertBackup(b.foreign)
	b.insertBackup(b.vps)
	b.tx(func(tx *store.Tx) error { return tx.SetService(b.ctx(), source.ID, holdfast.ServiceTerminated) })
	list := b.call("GET", "/api/v2/vps/"+b.vps.ID.String()+"/backups/restore-sources", b.read, "").want(200, "")
	if n := strings.Count(string(list.raw), `"sourceType"`); n != 1 {
		t.Errorf("%d sources: %s", n, list.raw)
	}
	for _, want := range []string{`"retained"`, `"terminated"`, `"old-web"`, bk.ID.String(), `"the last"`} {
		if !strings.Contains(string(list.raw), want) {
			t.Errorf("no %s in %s", want, list.raw)
		}
	}
	path := "/api/v2/vps/" + b.vps.ID.String() + "/backups/actions/restore-from-vps"
	body := func(vps holdfast.VPSID, bk holdfast.BackupID) string {
		return fmt.Sprintf(`{"sourceVpsId":%q,"backupId":%q}`, vps, bk)
	}
	if got := b.call("POST", path, b.full, "").want(400, "invalid_request").faults(); !strings.Contains(got, "/sourceVpsId") || !strings.Contains(got, "/backupId") {
		t.Errorf("an empty body: %s", got)
	}
	b.call("POST", path, b.full, body(b.foreign.ID, bk.ID)).want(404, "vps_not_found")
	b.call("POST", path, b.full, body("x", bk.ID)).want(404, "vps_not_found")
	b.call("POST", path, b.full, body(source.ID, "x")).want(404, "backup_not_found")
	own := b.insertBackup(b.vps)
	if got := b.call("POST", path, b.full, body(b.vps.ID, own.ID)).want(400, "same_vps").faults(); !strings.Contains(got, "/sourceVpsId") {
		t.Error(got)
	}
	large := b.insertBackup(source, func(bk *holdfast.Backup) { bk.Disks[0].SizeBytes = 200 * holdfast.GiB })
	if got := b.call("POST", path, b.full, body(source.ID, large.ID)).want(400, "storage_too_small").faults(); !strings.Contains(got, "/backupId") {
		t.Error(got)
	}
	if got := b.gate(b.full, "canRestoreFromAnotherVps"); got != "" {
		t.Errorf("the gate: %q", got)
	}
	b.call("POST", path, b.backup, body(source.ID, bk.ID)).want(202, "")
	b.call("POST", path, b.backup, body(source.ID, bk.ID)).want(409, "operation_in_progress")
}
