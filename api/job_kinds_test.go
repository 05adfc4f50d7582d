package api_test

import (
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

// asked is a job as a customer starts it, and what shows that nothing is left of it.
type asked struct {
	kind   holdfast.Kind
	commit string              // the step after which it cannot be cancelled
	key    func(*bench) string // that has the scopes to start it, and no others
	begin  func(*bench) (call func() answer)
	left   func(*bench, holdfast.Operation) bool
}

// safetyPoint gives the VPS disks to go back to.
func (b *bench) safetyPoint() {
	b.tx(func(tx *store.Tx) error {
		return tx.InsertGeneration(b.ctx(), holdfast.Generation{
			VPSID: b.vps.ID, AccountID: b.account, HostID: b.host, Number: 7, State: holdfast.GenerationSafety, Disks: b.vps.Disks,
			ExpiresAt: b.clock().Add(time.Hour),
		})
	})
}

func (b *bench) vpsNow(id holdfast.VPSID) holdfast.VPS {
	b.t.Helper()
	v, err := b.store.VPS(b.ctx(), id)
	b.ok(err)
	return v
}

// begins is a call once what it needs is there.
func begins(method string, path func(*bench) string, body string) func(*bench) func() answer {
	return func(b *bench) func() answer {
		url := path(b)
		return func() answer { return b.call(method, url, b.full, body) }
	}
}

// cancellable are all kinds of jobs that a customer can cancel.
func cancellable() []asked {
	backup, power := func(b *bench) string { return b.backup }, func(b *bench) string { return b.powerKey() }
	desired := func(p holdfast.PowerState) func(*bench, holdfast.Operation) bool {
		return func(b *bench, _ holdfast.Operation) bool { return b.vpsNow(b.vps.ID).Desired != p }
	}
	generation := func(number int, state holdfast.GenerationState) func(*bench, holdfast.Operation) bool {
		return func(b *bench, _ holdfast.Operation) bool {
			g, err := b.store.Generation(b.ctx(), b.vps.ID, number)
			return err != nil || g.State != state
		}
	}
	line := func(want string) func(*bench, holdfast.Operation) bool {
		return func(b *bench, _ holdfast.Operation) bool { return b.line() != want }
	}
	of := func(action string) func(*bench) string {
		return func(b *bench) string {
			return b.backups() + "/" + b.insertBackup(b.vps).ID.String() + "/actions/" + action
		}
	}
	on := func(action string, from holdfast.PowerState) func(*bench) string {
		return func(b *bench) string { b.setPower(from); return b.power(action) }
	}
	undo := func(b *bench) string {
		b.safetyPoint()
		return "/api/v2/vps/" + b.vps.ID.String() + "/actions/undo-restore"
	}
	one := func(b *bench) string { b.insertSnapshot(b.vps, "a"); return b.snapshots() + "/a" }
	two := func(b *bench) string { b.insertSnapshot(b.vps, "b"); return one(b) + "/actions/restore" }
	running, stopped := holdfast.PowerRunning, holdfast.PowerStopped
	return []asked{
		{holdfast.KindBackup, "", backup, begins("POST", (*bench).backups, ""), func(b *bench, o holdfast.Operation) bool {
			bk, err := b.store.Backup(b.ctx(), o.BackupID)
			return err != nil || bk.Status != holdfast.BackupFailed || b.call("GET", b.backups(), b.full, "").at("quotaInfo.used") != 0.0
		}},
		{holdfast.KindRestoreToPayg, "", func(b *bench) string { return b.billing }, begins("POST", of("restore-to-payg"), ""), func(b *bench, o holdfast.Operation) bool {
			used, err := b.store.UsedCloud(b.ctx(), b.account)
			return err != nil || used.Instances != 0 || b.call("GET", "/api/v2/vps/"+o.VPSID.String(), b.full, "").status != 404
		}},
		{holdfast.KindRestoreInPlace, holdfast.StepSwitch, backup, begins("POST", of("restore"), ""), generation(2, holdfast.GenerationDropping)},
		{holdfast.KindRestoreUndo, holdfast.StepSwitch, backup, begins("POST", undo, ""), generation(7, holdfast.GenerationSafety)},
		{holdfast.KindSnapshotCreate, "", backup, begins("POST", (*bench).snapshots, `{"name":"a"}`), line("")},
		{holdfast.KindSnapshotRestore, holdfast.StepSnapshotSwitch, backup, begins("POST", two, ""), line("b<<nil> a<b")},
		{holdfast.KindSnapshotDelete, holdfast.StepSnapshotRemove, backup, begins("DELETE", one, ""), line("a<<nil>")},
		{holdfast.KindVPSStart, "", power, begins("POST", on("start", stopped), ""), desired(stopped)},
		{holdfast.KindVPSStop, "", power, begins("POST", on("shutdown", running), ""), desired(running)},
		{holdfast.KindVPSRestart, "", power, begins("POST", on("restart", running), ""), desired(running)},
		{holdfast.KindVPSReset, "", power, begins("POST", on("reset", running), ""), desired(running)},
	}
}

func (b *bench) powerKey() string {
	b.t.Helper()
	k, err := b.control.CreateAPIKey(b.ctx(), control.CreateAPIKeyInput{Account: "main", Scopes: []string{"power:vm"}})
	b.ok(err)
	return k.Secret
}

func isPower(k holdfast.Kind) bool {
	return k == holdfast.KindVPSStart || k == holdfast.KindVPSStop || k == holdfast.KindVPSRestart || k == holdfast.KindVPSReset
}
