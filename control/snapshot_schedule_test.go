package control_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
)

func (w *snapshotWorld) schedule(req control.ScheduleRequest) holdfast.SnapshotSchedule {
	w.t.Helper()
	state, _, err := w.control.SetSnapshotSchedule(w.t.Context(), w.caller, string(w.vps.ID), req, nil, nil)
	w.ok(err)
	return *state.Schedule
}

func hours(n float64) control.ScheduleRequest { return control.ScheduleRequest{IntervalHours: &n} }

func TestScheduleTakesSnapshots(t *testing.T) {
	w := newSnapshotWorld(t)
	s := w.schedule(hours(4))
	if ahead := s.NextAt.Sub(w.now()); ahead < 0 || ahead > 10*time.Minute {
		t.Errorf("the first is in %v", ahead)
	}
	w.wait(10 * time.Minute)
	w.keep("the first", "snapshot_create")
	w.run(w.taken())
	first := w.line()
	if !holdfast.IsSnapshotName(first) || !strings.HasPrefix(first, "auto-") {
		t.Errorf("its name is %q", first)
	}
	w.keep("no second", "")
	// A run that meets a busy VPS waits, and keeps the rhythm.
	w.wait(4 * time.Hour)
	w.add(holdfast.Operation{Kind: holdfast.KindBackup, BackupID: "bkp_x", Lock: holdfast.LockData})
	w.keep("busy", "backup")
	w.wait(time.Hour)
	w.run(failedOutcome)
	w.keep("afterwards", "snapshot_create")
	w.run(w.taken())
	next, err := w.store.SnapshotSchedule(t.Context(), w.vps.ID)
	if err != nil || next.NextAt != s.NextAt.Add(8*time.Hour) || next.LastAt != w.now() {
		t.Errorf("next at %v, %v; the first was planned for %v", next.NextAt, err, s.NextAt)
	}
	// Of those that were missed one is taken.
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SetService(ctx, w.vps.ID, holdfast.ServiceSuspended)
	})
	w.wait(13 * time.Hour)
	w.keep("suspended", "")
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SetService(ctx, w.vps.ID, holdfast.ServiceActive)
	})
	w.keep("in service again", "snapshot_create")
	w.run(w.taken())
	w.keep("no second", "")
	off := false
	w.schedule(control.ScheduleRequest{Enabled: &off})
	w.wait(4 * time.Hour)
	w.keep("switched off", "")
}

// At the limit the oldest one that a schedule has made goes first; where all were
// made by hand the schedule waits.
func TestScheduleAtTheLimit(t *testing.T) {
	w := newSnapshotWorld(t)
	w.schedule(hours(4))
	w.make("hand")
	w.wait(10 * time.Minute)
	for range 2 {
		w.keep("below the limit", "snapshot_create")
		w.run(w.taken())
		w.wait(4 * time.Hour)
	}
	before := strings.Fields(w.line())
	w.keep("at the limit", "snapshot_delete")
	w.run(deleted)
	w.keep("then", "snapshot_create")
	w.run(w.taken())
	after := strings.Fields(w.line())
	if len(after) != 3 || after[0] != "hand" || after[1] != before[2] {
		t.Errorf("from %v to %v", before, after)
	}
	for _, name := range after[1:] {
		_, err := w.control.DeleteSnapshot(t.Context(), w.caller, string(w.vps.ID), name)
		w.ok(err)
		w.run(deleted)
	}
	w.make("second", "third")
	w.wait(4 * time.Hour)
	w.keep("all are made by hand", "")
	_, err := w.control.DeleteSnapshot(t.Context(), w.caller, string(w.vps.ID), "second")
	w.ok(err)
	w.run(deleted)
	w.wait(time.Minute)
	w.keep("there is room", "snapshot_create")
}

// Switching a schedule off and on takes no snapshot early, and a shorter interval
// counts from the last one.
func TestScheduleIsChanged(t *testing.T) {
	w := newSnapshotWorld(t)
	w.schedule(hours(24))
	w.wait(10 * time.Minute)
	w.keep("the first", "snapshot_create")
	w.run(w.taken())
	last := w.now()
	off := false
	w.schedule(control.ScheduleRequest{Enabled: &off})
	for n, ahead := range map[float64]time.Duration{24: 24 * time.Hour, 5: 5 * time.Hour} {
		s := w.schedule(hours(n))
		if late := s.NextAt.Sub(last.Add(ahead)); late < 0 || late > 10*time.Minute {
			t.Errorf("every %v hours: next at %v, the last was at %v", n, s.NextAt, last)
		}
	}
	w.wait(48 * time.Hour)
	if s := w.schedule(hours(6)); s.NextAt.Before(w.now()) || s.NextAt.Sub(w.now()) > 10*time.Minute {
		t.Errorf("long after: next at %v, it is %v", s.NextAt, w.now())
	}
}

// A name that a schedule would make may be taken.
func TestScheduledNameIsTaken(t *testing.T) {
	w := newSnapshotWorld(t)
	w.schedule(hours(4))
	w.wait(10 * time.Minute)
	w.begin("auto-" + w.now().UTC().Format("20060102-150405"))
	w.run(w.taken())
	w.keep("", "snapshot_create")
	if names := strings.Fields(w.line()); len(names) != 2 || names[1] != fmt.Sprint(names[0], "-2(pending)") {
		t.Errorf("%v", names)
	}
}
