package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/machine"
	"holdfast/operation"
)

// scene is a machine with a disk, two snapshots of it, and what is on it now.
type scene struct {
	t    *testing.T
	host *machine.Host
	sim  *sim.Host
	vps  holdfast.VPSID
	ids  []holdfast.SnapshotID
}

func newScene(t *testing.T, run bool) *scene {
	t.Helper()
	h, s := newHost(t, 2)
	h.Snapshotter = s
	id, _ := define(t, h, input())
	w := &scene{t: t, host: h, sim: s, vps: id}
	w.ok(s.Start(t.Context(), string(id)))
	for _, content := range []string{"one", "two"} {
		w.write(content)
		snap := holdfast.NewID[holdfast.SnapshotID]()
		_, err := s.Snapshot(t.Context(), string(id), snap.ULID())
		w.ok(err)
		w.ids = append(w.ids, snap)
	}
	w.write("now")
	if !run {
		w.ok(s.Stop(t.Context(), string(id), 0))
	}
	return w
}

func (w *scene) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *scene) write(content string) {
	w.t.Helper()
	w.ok(w.sim.WriteDisk(string(w.vps), "disk0", []byte(content), 0))
}

// sees is what is on the disk, the snapshots that there are, and the power.
func (w *scene) sees() string {
	w.t.Helper()
	b := make([]byte, 3)
	w.ok(w.sim.ReadDisk(string(w.vps), "disk0", b, 0))
	list, err := w.sim.Snapshots(context.Background(), string(w.vps))
	w.ok(err)
	var line []string
	for _, s := range list {
		at := slices.IndexFunc(w.ids, func(id holdfast.SnapshotID) bool { return id.ULID() == s.ID })
		line = append(line, []string{"?", "1", "2", "3"}[at+1])
	}
	st, err := w.sim.Inspect(context.Background(), string(w.vps))
	w.ok(err)
	return fmt.Sprintf("%s [%s] %s", b, strings.Join(line, " "), st.Power)
}

func (w *scene) op(kind holdfast.Kind, id holdfast.SnapshotID) *journal {
	w.t.Helper()
	in, err := json.Marshal(holdfast.SnapshotInput{Snapshot: id, Name: "s", Grace: time.Millisecond})
	w.ok(err)
	return &journal{op: holdfast.Operation{ID: holdfast.NewID[holdfast.JobID](), Kind: kind, VPSID: w.vps, Input: in}, entries: map[string]json.RawMessage{}, known: make(chan struct{})}
}

// run has a runner work on the operation until it has ended or ctx does.
func (w *scene) run(ctx context.Context, j *journal) {
	w.t.Helper()
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	r := operation.NewRunner(j, operation.Config{
		Name: "r", TTL: 600 * time.Millisecond, Poll: time.Millisecond, Publish: 5 * time.Millisecond, MaxAttempts: 3,
		FirstDelay: time.Millisecond, MostDelay: time.Millisecond, Grace: 2 * time.Second, Log: slog.New(slog.DiscardHandler),
	}, map[holdfast.Kind]operation.Handler{
		holdfast.KindSnapshotCreate: w.host.CreateSnapshot, holdfast.KindSnapshotRestore: w.host.RollBack, holdfast.KindSnapshotDelete: w.host.DeleteSnapshot,
		holdfast.KindVPSRestart: w.host.Restart,
	})
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if j.ended() != nil {
				stop()
			}
		case err := <-done:
			w.ok(err)
			return
		}
	}
}

func TestSnapshotIsTaken(t *testing.T) {
	w := newScene(t, true)
	w.ids = append(w.ids, holdfast.NewID[holdfast.SnapshotID]())
	j := w.op(holdfast.KindSnapshotCreate, w.ids[2])
	before := time.Now()
	w.run(t.Context(), j)
	var r holdfast.SnapshotReport
	if j.end() != "" || json.Unmarshal(j.outcome.Report, &r) != nil || r.TakenAt.Before(before.Add(-time.Second)) || r.TakenAt.After(time.Now()) {
		t.Errorf("%q, %+v", j.end(), r)
	}
	if got := w.sees(); got != "now [1 2 3] running" {
		t.Errorf("then: %s", got)
	}
}

func TestRollback(t *testing.T) {
	for _, c := range []struct {
		ran  bool
		to   int
		want string
	}{{true, 0, "one [1] running"}, {true, 1, "two [1 2] running"}, {false, 0, "one [1] stopped"}} {
		w := newScene(t, c.ran)
		j := w.op(holdfast.KindSnapshotRestore, w.ids[c.to])
		w.run(t.Context(), j)
		var r holdfast.SnapshotReport
		if j.end() != "" || json.Unmarshal(j.outcome.Report, &r) != nil || (r.Power == holdfast.PowerRunning) != c.ran {
			t.Errorf("%q, %+v", j.end(), r)
		}
		if got := w.sees(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// A VPS that was to run is started, though its host went down before the rollback
// began; one whose guest has powered it off is not.
func TestRollbackOfAMachineThatDied(t *testing.T) {
	for end, want := range map[string]string{"killed": "one [1] running", "off": "one [1] stopped"} {
		w := newScene(t, true)
		if end == "killed" {
			w.ok(w.sim.Kill(string(w.vps)))
		} else {
			w.ok(w.sim.PowerOff(t.Context(), string(w.vps)))
		}
		j := w.op(holdfast.KindSnapshotRestore, w.ids[0])
		in, err := json.Marshal(holdfast.SnapshotInput{Snapshot: w.ids[0], Runs: true})
		w.ok(err)
		j.op.Input = in
		w.run(t.Context(), j)
		if got := w.sees(); j.end() != "" || got != want {
			t.Errorf("%s: %q, %s, want %s", end, j.end(), got, want)
		}
	}
}

func TestSnapshotIsDeleted(t *testing.T) {
	w := newScene(t, true)
	j := w.op(holdfast.KindSnapshotDelete, w.ids[0])
	w.run(t.Context(), j)
	if got := w.sees(); j.end() != "" || got != "now [2] running" {
		t.Errorf("%q: %s", j.end(), got)
	}
	// One that is gone is deleted already.
	if j = w.op(holdfast.KindSnapshotDelete, w.ids[0]); true {
		w.run(t.Context(), j)
	}
	if got := w.sees(); j.end() != "" || got != "now [2] running" {
		t.Errorf("%q: %s", j.end(), got)
	}
}

// outlive has each runner die in one more of the driver's calls than the one
// before, which the call then fails for or not, until one ends the operation. It
// returns how many there were.
func (w *scene) outlive(j *journal, before bool) (runners int) {
	w.t.Helper()
	for ; j.ended() == nil; runners++ {
		if runners > 20 {
			w.t.Fatalf("%s does not end", j.op.Kind)
		}
		ctx, die := context.WithCancelCause(w.t.Context())
		calls := 0
		// A dead runner neither journals nor ends anything more, and what the call
		// did stays.
		w.sim.Inject(sim.Faults{Call: func(string, string) error {
			if calls++; calls < runners+1 {
				return nil
			}
			j.mu.Lock()
			j.epoch++ // the lease is another's
			j.mu.Unlock()
			die(errors.New("dead"))
			if before {
				return errors.New("dead")
			}
			return nil
		}})
		w.run(ctx, j)
		die(nil)
		w.sim.Inject(sim.Faults{})
	}
	return runners
}

// Whatever its runners die in, an operation ends as one that nobody died in.
func TestSnapshotOperationsOutliveTheirRunners(t *testing.T) {
	for kind, want := range map[holdfast.Kind]string{
		holdfast.KindSnapshotCreate: "now [1 2 3] running", holdfast.KindSnapshotRestore: "one [1] running", holdfast.KindSnapshotDelete: "now [2] running",
	} {
		for _, before := range []bool{true, false} {
			w := newScene(t, true)
			id := w.ids[0]
			if kind == holdfast.KindSnapshotCreate {
				w.ids = append(w.ids, holdfast.NewID[holdfast.SnapshotID]())
				id = w.ids[2]
			}
			j := w.op(kind, id)
			runners := w.outlive(j, before)
			if got := w.sees(); j.end() != "" || got != want || runners < 2 {
				t.Errorf("%s by %d runners: %q, %s, want %s", kind, runners, j.end(), got, want)
			}
		}
	}
}

// A restart boots the machine once, however many runners it takes.
func TestRestartBootsOnce(t *testing.T) {
	for _, before := range []bool{true, false} {
		w := newScene(t, true)
		j := w.op(holdfast.KindVPSRestart, "")
		runners := w.outlive(j, before)
		console, err := w.sim.Console(t.Context(), string(w.vps), 1000)
		w.ok(err)
		if got := w.sees(); j.end() != "" || got != "now [1 2] running" || runners < 2 || string(console) != "boot 1\nboot 2\n" {
			t.Errorf("by %d runners: %q, %s, %q", runners, j.end(), got, console)
		}
	}
}

// A cancel is in time until the snapshot is taken, the disks are put back, the
// deletion is begun; after that the operation ends well.
func TestCancelOfSnapshotOperations(t *testing.T) {
	for _, c := range []struct {
		kind holdfast.Kind
		at   string // the call of the driver during which the cancel comes; "": before all
		end  holdfast.Code
		want string
	}{
		{holdfast.KindSnapshotCreate, "", "cancelled", "now [1 2] running"},
		{holdfast.KindSnapshotRestore, "", "cancelled", "now [1 2] running"},
		{holdfast.KindSnapshotRestore, "stop", "cancelled", "now [1 2] running"},
		{holdfast.KindSnapshotRestore, "rollback", "", "one [1] running"},
		{holdfast.KindSnapshotRestore, "start", "", "one [1] running"},
		{holdfast.KindVPSRestart, "", "cancelled", "now [1 2] running"},
		{holdfast.KindVPSRestart, "stop", "", "now [1 2] running"},
		{holdfast.KindSnapshotDelete, "", "cancelled", "now [1 2] running"},
		{holdfast.KindSnapshotDelete, "removesnapshot", "", "now [2] running"},
	} {
		t.Run(string(c.kind)+" "+c.at, func(t *testing.T) {
			w := newScene(t, true)
			id := w.ids[0]
			if c.kind == holdfast.KindSnapshotCreate {
				id = holdfast.NewID[holdfast.SnapshotID]()
			}
			j := w.op(c.kind, id)
			j.op.Cancel = c.at == ""
			cancelled := false
			w.sim.Inject(sim.Faults{Call: func(name, _ string) error {
				if name == c.at && !cancelled {
					cancelled = true
					j.mu.Lock()
					j.op.Cancel = true
					j.mu.Unlock()
					<-j.known
				}
				return nil
			}})
			w.run(t.Context(), j)
			if got := w.sees(); j.end() != c.end || got != c.want {
				t.Errorf("%q: %s; want %q: %s", j.end(), got, c.end, c.want)
			}
			for _, step := range []string{holdfast.StepSnapshotTake, holdfast.StepSnapshotSwitch, holdfast.StepSnapshotRemove} {
				if c.end != "" && j.begun(t, step) {
					t.Errorf("cancelled in time, but step %s was begun", step)
				}
			}
		})
	}
}

// A rollback that fails for good leaves the machine running, as it was.
func TestRollbackThatFails(t *testing.T) {
	w := newScene(t, true)
	j := w.op(holdfast.KindSnapshotRestore, holdfast.NewID[holdfast.SnapshotID]())
	w.run(t.Context(), j)
	if got := w.sees(); j.end() != holdfast.CodeSnapshotNotFound || got != "now [1 2] running" {
		t.Errorf("%q: %s", j.end(), got)
	}
	w.sim.Inject(sim.Faults{Call: func(name, _ string) error {
		if name == "rollback" {
			return fmt.Errorf("sim: %w", compute.ErrNoSpace)
		}
		return nil
	}})
	j = w.op(holdfast.KindSnapshotRestore, w.ids[0])
	w.run(t.Context(), j)
	if got := w.sees(); j.end() != holdfast.CodeHostDiskFull || got != "now [1 2] running" {
		t.Errorf("%q: %s", j.end(), got)
	}
	// One that is switched and does not start says so.
	w.sim.Inject(sim.Faults{Call: func(name, _ string) error {
		if name == "start" {
			return errors.New("broken")
		}
		return nil
	}})
	j = w.op(holdfast.KindSnapshotRestore, w.ids[0])
	w.run(t.Context(), j)
	if got := w.sees(); j.end() != holdfast.CodeInternal || got != "one [1] stopped" || !strings.Contains(j.outcome.Failure.Message, "rolled back") {
		t.Errorf("%q: %s", j.end(), got)
	}
}

func TestHostWithoutSnapshots(t *testing.T) {
	w := newScene(t, true)
	w.host.Snapshotter = nil
	for _, kind := range []holdfast.Kind{holdfast.KindSnapshotCreate, holdfast.KindSnapshotRestore, holdfast.KindSnapshotDelete} {
		j := w.op(kind, w.ids[0])
		w.run(t.Context(), j)
		if j.end() != holdfast.CodeSnapshotsUnavailable {
			t.Errorf("%s: %q", kind, j.end())
		}
	}
}
