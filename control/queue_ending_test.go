package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"holdfast"
	"holdfast/operation"
	"holdfast/store"
)

var (
	failedOutcome = operation.Outcome{Failure: &holdfast.Failure{Code: holdfast.CodeSiteFull, Message: "Full.", Extensions: map[string]any{"a": "b"}}}
	runningReport = holdfast.MachineReport{Power: holdfast.PowerRunning, Ports: []holdfast.ForwardedPort{{Address: "127.0.0.1", HostPort: 40001, GuestPort: 80}}}
)

// result is an operation's result as the wire would show it.
func result(t *testing.T, o holdfast.Operation) map[string]any {
	t.Helper()
	var m map[string]any
	if o.Status != holdfast.OperationCompleted || o.Failure != nil || json.Unmarshal(o.Result, &m) != nil {
		t.Fatalf("%v %s %+v", o.Status, o.Result, o.Failure)
	}
	return m
}

func wantFailure(t *testing.T, o holdfast.Operation, code holdfast.Code) {
	t.Helper()
	if o.Status != holdfast.OperationFailed || o.Result != nil || o.Failure == nil || o.Failure.Code != code || o.Failure.Message == "" || o.FinishedAt.IsZero() {
		t.Errorf("%v %s %+v", o.Status, o.Result, o.Failure)
	}
}

func TestBackupCompletes(t *testing.T) {
	w := newQueueWorld(t)
	_, id := w.backup()
	o, l := w.claim("r")
	w.wall.Add(12)
	if err := w.queue.Finish(t.Context(), l, operation.Outcome{Report: report(goodBackup())}); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"backupId": string(id), "sizeGb": 1.5, "transferredBytes": 1024.0, "changedBytes": 4096.0,
		"durationSeconds": 12.0, "incremental": "incremental", "consistency": "crash",
	}
	if got := result(t, w.see(o.ID)); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	b, err := w.store.Backup(t.Context(), id)
	if err != nil || b.Status != holdfast.BackupCompleted || !b.PointAt.Equal(goodBackup().PointAt) || b.Point != "p1" || b.SizeBytes != 3*holdfast.GiB/2 || b.TransferredBytes != 1024 {
		t.Errorf("%+v %v", b, err)
	}
}

func TestBackupFailsAndFreesItsSlot(t *testing.T) {
	w := newQueueWorld(t)
	_, id := w.backup()
	o := w.run(failedOutcome)
	wantFailure(t, o, holdfast.CodeSiteFull)
	if o.Failure.Extensions["a"] != "b" {
		t.Errorf("%+v", o.Failure)
	}
	if n, err := w.store.UsedSlots(t.Context(), w.vps.ID); n != 0 || err != nil || w.backupStatus(id) != holdfast.BackupFailed {
		t.Errorf("%d slots, %v, %v", n, err, w.backupStatus(id))
	}
	w.backup() // the lock is free
}

// A report that cannot be true completes nothing.
func TestImpossibleBackupReports(t *testing.T) {
	w := newQueueWorld(t)
	for name, spoil := range map[string]func(*holdfast.BackupReport){
		"no time":         func(r *holdfast.BackupReport) { r.PointAt = time.Time{} },
		"a distant time":  func(r *holdfast.BackupReport) { r.PointAt = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) },
		"negative size":   func(r *holdfast.BackupReport) { r.SizeBytes = -1 },
		"negative change": func(r *holdfast.BackupReport) { r.ChangedBytes = -1 },
		"negative upload": func(r *holdfast.BackupReport) { r.TransferredBytes = -1 },
		"incremental":     func(r *holdfast.BackupReport) { r.Incremental = "<script>" },
		"consistency":     func(r *holdfast.BackupReport) { r.Consistency = "" },
		"long point":      func(r *holdfast.BackupReport) { r.Point = string(make([]byte, 201)) },
	} {
		_, id := w.backup()
		r := goodBackup()
		spoil(&r)
		o := w.run(operation.Outcome{Report: report(r)})
		wantFailure(t, o, holdfast.CodeInternal)
		if w.backupStatus(id) != holdfast.BackupFailed {
			t.Errorf("%s: the backup is %v", name, w.backupStatus(id))
		}
		if !hasAll(w.log.String(), string(o.ID)) {
			t.Errorf("%s: the log does not say so", name)
		}
	}
	_, id := w.backup()
	wantFailure(t, w.run(operation.Outcome{Report: json.RawMessage(`[`)}), holdfast.CodeInternal)
	_, gone := w.backup()
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.SetBackupStatus(ctx, gone, holdfast.BackupPending, holdfast.BackupDeleted), tx.DeleteBackup(ctx, gone))
	})
	wantFailure(t, w.run(operation.Outcome{Report: report(goodBackup())}), holdfast.CodeInternal)
	if w.backupStatus(id) != holdfast.BackupFailed || w.backupStatus(gone) != "" {
		t.Error("a backup came back")
	}
}

func TestBackupDelete(t *testing.T) {
	w := newQueueWorld(t)
	_, id := w.backup()
	w.run(operation.Outcome{Report: report(goodBackup())})
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SetBackupStatus(ctx, id, holdfast.BackupCompleted, holdfast.BackupDeleted)
	})
	w.add(holdfast.Operation{Kind: holdfast.KindBackupDelete, BackupID: id})
	// A deletion that failed is not given up: the customer has been told 204.
	wantFailure(t, w.run(failedOutcome), holdfast.CodeSiteFull)
	if w.backupStatus(id) != holdfast.BackupDeleted {
		t.Errorf("%v", w.backupStatus(id))
	}
	w.idle()
	w.pass(time.Hour)
	o := w.run(operation.Outcome{Report: json.RawMessage(`{}`)})
	if o.Kind != holdfast.KindBackupDelete || o.BackupID != id || w.backupStatus(id) != "" {
		t.Errorf("%+v, %v", o, w.backupStatus(id))
	}
	result(t, o)
	w.idle()
}

func (w *queueWorld) newCloudVM() holdfast.VPS {
	w.t.Helper()
	v := w.machine(holdfast.PowerProvisioning)
	v.Ports = nil
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertVPS(ctx, v) })
	return v
}

func TestRestoreCompletes(t *testing.T) {
	w := newQueueWorld(t)
	v := w.newCloudVM()
	w.add(holdfast.Operation{Kind: holdfast.KindRestoreToPayg, VPSID: v.ID, Lock: holdfast.LockData})
	o := w.run(operation.Outcome{Report: report(holdfast.RestoreReport{MachineReport: runningReport, BytesWritten: 99})})
	want := map[string]any{"vpsId": string(v.ID), "name": "web", "region": "r", "primaryIp": nil, "bytesWritten": 99.0, "durationSeconds": 0.0, "diskGrowth": []any{}}
	if got := result(t, o); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if v := w.seeVPS(v.ID); v.Power != holdfast.PowerRunning || v.Service != holdfast.ServiceActive || !slices.Equal(v.Ports, runningReport.Ports) {
		t.Errorf("%+v", v)
	}
}

func TestARestoreThatFailsLeavesNothing(t *testing.T) {
	for name, out := range map[string]operation.Outcome{
		"failed":           failedOutcome,
		"cancelled":        {Failure: &holdfast.Failure{Code: holdfast.CodeCancelled, Message: "Cancelled."}},
		"a bad report":     {Report: report(holdfast.RestoreReport{MachineReport: holdfast.MachineReport{Power: "on fire"}})},
		"negative bytes":   {Report: report(holdfast.RestoreReport{MachineReport: runningReport, BytesWritten: -1})},
		"a note of noise":  {Report: report(holdfast.RestoreReport{MachineReport: runningReport, Growth: []holdfast.DiskGrowth{{Disk: "disk0", Note: "\x1b[2J"}}})},
		"a disk's path":    {Report: report(holdfast.RestoreReport{MachineReport: runningReport, Growth: []holdfast.DiskGrowth{{Disk: "../x"}}})},
		"too many ports":   {Report: report(holdfast.MachineReport{Power: holdfast.PowerRunning, Ports: make([]holdfast.ForwardedPort, 99)})},
		"a hostile port":   {Report: report(holdfast.MachineReport{Power: holdfast.PowerRunning, Ports: []holdfast.ForwardedPort{{Address: "127.0.0.1", HostPort: 70000, GuestPort: 1}}})},
		"a false address":  {Report: report(holdfast.MachineReport{Power: holdfast.PowerRunning, Ports: []holdfast.ForwardedPort{{Address: "javascript:", HostPort: 1, GuestPort: 1}}})},
		"no report at all": {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newQueueWorld(t)
			v := w.newCloudVM()
			before, err := w.store.UsedCloud(t.Context(), w.account)
			if err != nil {
				t.Fatal(err)
			}
			restore := w.add(holdfast.Operation{Kind: holdfast.KindRestoreToPayg, VPSID: v.ID, Lock: holdfast.LockData})
			if o := w.run(out); o.ID != restore.ID || o.Status != holdfast.OperationFailed || o.VPSID != v.ID {
				t.Errorf("%+v", o)
			}
			after, err := w.store.UsedCloud(t.Context(), w.account)
			if err != nil || after.Instances != before.Instances-1 {
				t.Errorf("it still counts: %+v, %v", after, err)
			}
			if _, err := w.store.VPS(t.Context(), v.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("it still shows: %v", err)
			}
			// The host clears away what it has of it, however often that fails.
			for range 3 {
				o := w.run(failedOutcome)
				if o.Kind != holdfast.KindVPSDelete || o.VPSID != v.ID || o.HostID != w.host {
					t.Fatalf("%+v", o)
				}
				w.idle()
				w.pass(time.Hour)
			}
			result(t, w.run(operation.Outcome{Report: report(holdfast.MachineReport{Power: holdfast.PowerStopped})}))
			w.pass(time.Hour)
			w.idle()
		})
	}
}

func TestPowerAndExistence(t *testing.T) {
	ports := []holdfast.ForwardedPort{{Address: "127.0.0.1", HostPort: 1, GuestPort: 2}}
	stopped := report(holdfast.MachineReport{Power: holdfast.PowerStopped})
	for _, c := range []struct {
		kind    holdfast.Kind
		before  holdfast.PowerState
		out     operation.Outcome
		power   holdfast.PowerState
		service holdfast.ServiceStatus
		ports   []holdfast.ForwardedPort
	}{
		{holdfast.KindVPSCreate, holdfast.PowerProvisioning, operation.Outcome{Report: report(runningReport)}, holdfast.PowerRunning, holdfast.ServiceActive, runningReport.Ports},
		{holdfast.KindVPSCreate, holdfast.PowerProvisioning, failedOutcome, holdfast.PowerError, holdfast.ServiceActive, ports},
		{holdfast.KindVPSStart, holdfast.PowerStopped, operation.Outcome{Report: report(holdfast.MachineReport{Power: holdfast.PowerRunning})}, holdfast.PowerRunning, holdfast.ServiceActive, ports},
		{holdfast.KindVPSStart, holdfast.PowerStopped, failedOutcome, holdfast.PowerStopped, holdfast.ServiceActive, ports},
		{holdfast.KindVPSStop, holdfast.PowerRunning, operation.Outcome{Report: stopped}, holdfast.PowerStopped, holdfast.ServiceActive, ports},
		{holdfast.KindVPSStop, holdfast.PowerRunning, failedOutcome, holdfast.PowerRunning, holdfast.ServiceActive, ports},
		{holdfast.KindVPSDelete, holdfast.PowerRunning, operation.Outcome{Report: stopped}, holdfast.PowerStopped, holdfast.ServiceTerminated, []holdfast.ForwardedPort{}},
		{holdfast.KindVPSDelete, holdfast.PowerRunning, failedOutcome, holdfast.PowerRunning, holdfast.ServiceActive, ports},
	} {
		w := newQueueWorld(t)
		v := w.machine(c.before)
		w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertVPS(ctx, v) })
		w.add(holdfast.Operation{Kind: c.kind, VPSID: v.ID})
		o := w.run(c.out)
		got := w.seeVPS(v.ID)
		if got.Power != c.power || got.Service != c.service || !slices.Equal(got.Ports, c.ports) {
			t.Errorf("%s %v: %v %v %v", c.kind, o.Status, got.Power, got.Service, got.Ports)
		}
		w.pass(time.Hour)
		w.idle()
	}
}

// What a host says of a VPS does not bring back a terminated one.
func TestATerminatedVPSStaysSo(t *testing.T) {
	w := newQueueWorld(t)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SetService(ctx, w.vps.ID, holdfast.ServiceTerminated)
	})
	for _, kind := range []holdfast.Kind{holdfast.KindVPSCreate, holdfast.KindVPSStart} {
		w.add(holdfast.Operation{Kind: kind})
		w.run(operation.Outcome{Report: report(runningReport)})
	}
	if v := w.seeVPS(w.vps.ID); v.Service != holdfast.ServiceTerminated || slices.Equal(v.Ports, runningReport.Ports) {
		t.Errorf("%+v", v)
	}
}

// Each kind that there is can end, well or ill, on a VPS and backup that are
// there or not: an operation that cannot end would be tried for ever.
func TestEveryKindCanEnd(t *testing.T) {
	w := newQueueWorld(t)
	for _, kind := range kindsInSource(t) {
		for _, out := range []operation.Outcome{failedOutcome, {}, {Report: report(runningReport)}, {Report: report(goodBackup())}} {
			for _, vps := range []holdfast.VPSID{w.vps.ID, holdfast.NewID[holdfast.VPSID]()} {
				o := w.add(holdfast.Operation{Kind: kind, VPSID: vps, BackupID: holdfast.NewID[holdfast.BackupID]()})
				_, l, err := w.tryClaim(w.queue, "r")
				for err == nil && l.Job != o.ID { // what followed from those before
					err = w.queue.Finish(t.Context(), l, operation.Outcome{Retry: true, RetryAfter: time.Hour})
					if err == nil {
						_, l, err = w.tryClaim(w.queue, "r")
					}
				}
				if err == nil {
					err = w.queue.Finish(t.Context(), l, out)
				}
				if err != nil || w.see(o.ID).Active() {
					t.Errorf("%s cannot end with %+v: %v", kind, out, err)
				}
			}
		}
	}
}

// kindsInSource are the kinds that the root package declares.
func kindsInSource(t *testing.T) []holdfast.Kind {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../operation.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []holdfast.Kind
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Kind" {
			s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, holdfast.Kind(s))
		}
		return true
	})
	if !slices.Equal(slices.Sorted(slices.Values(out)), slices.Sorted(slices.Values(allKinds))) {
		t.Fatalf("the tests know %v, there are %v", allKinds, out)
	}
	return out
}
