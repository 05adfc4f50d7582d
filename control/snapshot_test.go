package control_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/operation"
	"holdfast/store"
)

// snapshotWorld is a queue's world whose host keeps snapshots.
type snapshotWorld struct {
	*queueWorld

	control *control.Control
	caller  control.Caller
}

func newSnapshotWorld(t *testing.T) *snapshotWorld {
	t.Helper()
	w := &snapshotWorld{queueWorld: newQueueWorld(t)}
	policy := control.SnapshotPolicy{Limit: 3}
	w.queue = w.queue.WithUpkeep(control.Upkeep{Snapshots: policy})
	w.control = control.New(w.store, control.Options{Snapshots: policy})
	w.caller = control.Caller{Account: w.account, Scopes: holdfast.Scopes{holdfast.ScopeWriteAll}}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.PutHost(ctx, holdfast.Host{ID: w.host, Region: "r", Name: "h", Enabled: true, Snapshots: true})
	})
	w.wait(0)
	return w
}

func (w *snapshotWorld) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// wait lets both clocks go on, of a host that lives.
func (w *snapshotWorld) wait(d time.Duration) {
	w.t.Helper()
	w.pass(d)
	w.wall.Add(int64(d / time.Second))
	w.ok(w.control.TouchHost(w.t.Context(), w.host))
}

func (w *snapshotWorld) now() time.Time {
	w.t.Helper()
	now, err := w.store.Now(w.t.Context())
	w.ok(err)
	return now
}

// begin asks for a snapshot.
func (w *snapshotWorld) begin(name string) {
	w.t.Helper()
	_, err := w.control.CreateSnapshot(w.t.Context(), w.caller, string(w.vps.ID), control.SnapshotRequest{Name: name}, nil)
	w.ok(err)
}

// taken ends an operation that takes a snapshot.
func (w *snapshotWorld) taken() operation.Outcome {
	return operation.Outcome{Report: report(holdfast.SnapshotReport{TakenAt: w.now()})}
}

var (
	deleted    = operation.Outcome{Report: report(holdfast.SnapshotReport{})}
	rolledBack = operation.Outcome{Report: report(holdfast.SnapshotReport{Power: holdfast.PowerRunning})}
	hostFull   = operation.Outcome{Failure: &holdfast.Failure{Code: holdfast.CodeHostDiskFull, Message: "Full."}}
)

func (w *snapshotWorld) make(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.begin(name)
		w.wait(time.Second)
		w.run(w.taken())
	}
}

// line is what there is, also of what is hidden: "a b(deleting)".
func (w *snapshotWorld) line() string {
	w.t.Helper()
	all, err := w.store.AllSnapshots(w.t.Context(), "", w.vps.ID)
	w.ok(err)
	var out []string
	for _, s := range all {
		name := s.Name
		if s.Status != holdfast.SnapshotCompleted {
			name += "(" + string(s.Status) + ")"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func (w *snapshotWorld) wantLine(when, want string) {
	w.t.Helper()
	if got := w.line(); got != want {
		w.t.Errorf("%s: %q, want %q", when, got, want)
	}
}

// keep is one round of the upkeep, after which these kinds wait for a runner.
func (w *snapshotWorld) keep(when, want string) {
	w.t.Helper()
	w.ok(w.queue.KeepUp(w.t.Context(), w.host))
	w.ok(w.queue.KeepUp(w.t.Context(), w.host)) // nothing is queued twice
	all, err := w.store.ActiveOperations(w.t.Context(), w.vps.ID)
	w.ok(err)
	var kinds []string
	for _, o := range all {
		kinds = append(kinds, string(o.Kind))
	}
	if got := strings.Join(kinds, " "); got != want {
		w.t.Errorf("%s: %q waits, want %q", when, got, want)
	}
}

// fail ends the next operation, which has begun a step, as failed.
func (w *snapshotWorld) fail(step string, done bool, out operation.Outcome) holdfast.Operation {
	w.t.Helper()
	o, l := w.claim("r")
	if step != "" {
		w.ok(w.queue.Journal(w.t.Context(), l, "step/"+step, report(map[string]any{"epoch": 1, "done": done})))
	}
	w.finish(l, out)
	return w.see(o.ID)
}

func TestSnapshotExpires(t *testing.T) {
	w := newSnapshotWorld(t)
	w.make("a")
	w.keep("young", "")
	w.wait(23 * time.Hour)
	w.make("b")
	w.keep("an hour before", "")
	w.wait(time.Hour)
	w.add(holdfast.Operation{Kind: holdfast.KindBackup, BackupID: "bkp_x", Lock: holdfast.LockData})
	w.keep("while a backup runs", "backup")
	w.run(failedOutcome)
	w.wall.Add(int64(2 * holdfast.HostAlive / time.Second)) // no sign of life
	w.keep("while the host is away", "")
	w.wait(2 * time.Minute)
	w.keep("then", "snapshot_delete")
	w.wantLine("until it is deleted", "a b")
	w.run(deleted)
	w.wantLine("afterwards", "b")
	w.keep("b is young", "")
}

// What its host cannot give up says why, and is tried again for ever; nobody can
// use it meanwhile.
func TestSnapshotThatCannotBeDeleted(t *testing.T) {
	w := newSnapshotWorld(t)
	w.make("a", "b")
	_, err := w.control.DeleteSnapshot(t.Context(), w.caller, string(w.vps.ID), "a")
	w.ok(err)
	w.fail("", false, operation.Outcome{Failure: &holdfast.Failure{Code: holdfast.CodeCancelled, Message: "Cancelled."}})
	w.wantLine("cancelled before it was begun", "a b")
	_, err = w.control.DeleteSnapshot(t.Context(), w.caller, string(w.vps.ID), "a")
	w.ok(err)
	w.fail(holdfast.StepSnapshotRemove, false, hostFull)
	w.wantLine("failed in the middle", "a(deleting) b")
	info, err := w.control.ListAllSnapshots(t.Context(), control.ListSnapshotsInput{})
	if err != nil || info[0].Error != "Full." {
		t.Errorf("%+v, %v", info, err)
	}
	_, err = w.control.RestoreSnapshot(t.Context(), w.caller, string(w.vps.ID), "a", nil)
	if holdfast.CodeOf(err) != holdfast.CodeSnapshotNotFound {
		t.Errorf("rolling back to what is half gone: %v", err)
	}
	w.keep("at once", "")
	for range 3 {
		w.wait(10 * time.Minute)
		w.keep("later", "snapshot_delete")
		w.fail(holdfast.StepSnapshotRemove, false, hostFull)
	}
	w.wait(10 * time.Minute)
	w.keep("there is room again", "snapshot_delete")
	w.run(deleted)
	w.wantLine("at last", "b")
}

// A snapshot that is not taken leaves no row when nothing was begun, and nothing on
// the host when something was.
func TestSnapshotThatIsNotTaken(t *testing.T) {
	w := newSnapshotWorld(t)
	w.begin("a")
	w.fail("", false, hostFull)
	w.wantLine("nothing was begun", "")
	w.begin("a")
	w.fail(holdfast.StepSnapshotTake, false, hostFull)
	w.wantLine("something was", "a(deleting)")
	w.begin("a") // the name is free
	w.keep("while another one is taken", "snapshot_create")
	w.run(w.taken())
	w.keep("then", "snapshot_delete")
	w.run(deleted)
	w.wantLine("at last", "a")
	w.keep("no more", "")
}

// The end of a rollback tells which snapshots there are: also when it failed after
// the disks were put back, and when the host has not the snapshot.
func TestRollbacksEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		step string
		done bool
		out  operation.Outcome
		want string
	}{
		{"completed", holdfast.StepSnapshotSwitch, true, rolledBack, "a"},
		{"failed before", holdfast.StepSnapshotSwitch, false, hostFull, "a b c"},
		{"not begun", "", false, hostFull, "a b c"},
		{"failed after", holdfast.StepSnapshotSwitch, true, hostFull, "a"},
		{"not there", holdfast.StepSnapshotSwitch, false, operation.Outcome{Failure: &holdfast.Failure{Code: holdfast.CodeSnapshotNotFound, Message: "Gone."}}, "b c"},
		{"a state that cannot be", "", false, operation.Outcome{Report: report(holdfast.SnapshotReport{Power: "flying"})}, "a b c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newSnapshotWorld(t)
			w.make("a", "b", "c")
			_, err := w.control.RestoreSnapshot(t.Context(), w.caller, string(w.vps.ID), "a", nil)
			w.ok(err)
			w.ok(w.control.ObservePower(t.Context(), w.vps.ID, holdfast.PowerRunning, holdfast.PowerStopped))
			if got := w.seeVPS(w.vps.ID).Power; got != holdfast.PowerRunning {
				t.Errorf("the rollback shows as %s", got)
			}
			o := w.fail(c.step, c.done, c.out)
			if (o.Status == holdfast.OperationCompleted) != (c.name == "completed") {
				t.Errorf("it ended as %s", o.Status)
			}
			w.wantLine("then", c.want)
		})
	}
}

// A host whose clock is wrong makes no snapshot that never expires.
func TestSnapshotOfAHostsClock(t *testing.T) {
	w := newSnapshotWorld(t)
	for name, off := range map[string]time.Duration{"ahead": 1000 * time.Hour, "behind": -1000 * time.Hour} {
		w.begin(name)
		_, l := w.claim("r")
		begun := w.now()
		w.wait(time.Minute)
		w.finish(l, operation.Outcome{Report: report(holdfast.SnapshotReport{TakenAt: w.now().Add(off)})})
		list, err := w.control.ListSnapshots(t.Context(), w.caller, string(w.vps.ID))
		w.ok(err)
		s := list.Snapshots[len(list.Snapshots)-1]
		if s.TakenAt.Before(begun) || s.TakenAt.After(w.now()) || s.ExpiresAt != s.TakenAt.Add(24*time.Hour) {
			t.Errorf("%s: taken at %v, expires at %v", name, s.TakenAt, s.ExpiresAt)
		}
	}
}

func TestVPSTakesItsSnapshotsWithIt(t *testing.T) {
	w := newSnapshotWorld(t)
	w.make("a", "b")
	w.schedule(control.ScheduleRequest{})
	_, err := w.control.DeleteVPS(t.Context(), control.VPSInput{VPS: string(w.vps.ID)})
	w.ok(err)
	w.run(operation.Outcome{Report: report(holdfast.MachineReport{Power: holdfast.PowerStopped})})
	w.wantLine("gone", "")
	w.wait(100 * time.Hour)
	w.keep("gone", "")
}

// A restore in place takes the snapshots away, its undo brings them back, and with
// the safety point they are gone.
func TestSnapshotsAndRestores(t *testing.T) {
	w := newSnapshotWorld(t)
	w.make("a", "b", "c")
	inForce := func(generation int) {
		w.t.Helper()
		v := w.seeVPS(w.vps.ID)
		v.Generation = generation
		w.write(func(ctx context.Context, tx *store.Tx) error { return tx.SetVPSGeneration(ctx, v) })
	}
	shown := func() string {
		w.t.Helper()
		list, err := w.control.ListSnapshots(t.Context(), w.caller, string(w.vps.ID))
		w.ok(err)
		var names []string
		for _, s := range list.Snapshots {
			names = append(names, s.Name)
		}
		return strings.Join(names, "")
	}
	inForce(2)
	w.make("b")
	if got := shown(); got != "b" {
		t.Errorf("after a restore there are %q", got)
	}
	inForce(1)
	w.add(holdfast.Operation{Kind: holdfast.KindGenerationDrop, Input: report(holdfast.GenerationInput{Generation: holdfast.GenerationName(2)})})
	w.run(operation.Outcome{Report: report(struct{}{})})
	if got := shown(); got != "abc" {
		t.Errorf("after its undo there are %q", got)
	}
	w.wantLine("after the undo", "a b c")
	w.wait(24 * time.Hour)
	w.keep("they expire", "snapshot_delete")
}

// Of disks that are not in force nothing is shown, counted or deleted.
func TestSnapshotsBelongToTheirDisks(t *testing.T) {
	w := newSnapshotWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.write(func(ctx context.Context, tx *store.Tx) error {
			return tx.InsertSnapshot(ctx, holdfast.Snapshot{
				ID: holdfast.NewID[holdfast.SnapshotID](), AccountID: w.account, VPSID: w.vps.ID, Generation: w.vps.Generation + 1,
				Name: name, Status: holdfast.SnapshotCompleted, TakenAt: someTime, ExpiresAt: someTime,
			})
		})
	}
	list, err := w.control.ListSnapshots(t.Context(), w.caller, string(w.vps.ID))
	if err != nil || len(list.Snapshots) > 0 || !list.Gates.Create.Allowed {
		t.Errorf("%+v, %v", list, err)
	}
	w.wait(time.Hour)
	w.keep("those of other disks have expired", "")
	w.make("c")
	_, err = w.control.RestoreSnapshot(t.Context(), w.caller, string(w.vps.ID), "c", nil)
	w.ok(err)
	w.run(rolledBack)
	w.wantLine("after a rollback", "c a b c")
}
