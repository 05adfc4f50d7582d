package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/store"
)

// line is a VPS with the means to make snapshots of it.
type line struct {
	t     *testing.T
	store *store.Store
	vps   holdfast.VPS
}

func newLine(t *testing.T, opts ...store.Option) (line, world) {
	t.Helper()
	s := open(t, opts...)
	w := newWorld(t, s)
	l := line{t, s, w.vps(t)}
	write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.InsertVPS(ctx, l.vps) })
	return l, w
}

func (l line) make(name string) holdfast.Snapshot {
	return holdfast.Snapshot{
		ID: holdfast.NewID[holdfast.SnapshotID](), AccountID: l.vps.AccountID, VPSID: l.vps.ID, Generation: l.vps.Generation,
		Name: name, Description: "before ' the update", Status: holdfast.SnapshotCompleted, Scheduled: true, RequestedAt: noon,
		TakenAt: noon.Add(time.Second), ExpiresAt: noon.Add(time.Hour), Frozen: true, Error: "no", DueAt: noon.Add(time.Microsecond),
	}
}

func (l line) insert(s holdfast.Snapshot) error {
	return l.store.Tx(l.t.Context(), func(tx *store.Tx) error { return tx.InsertSnapshot(l.t.Context(), s) })
}

// names of a generation's line.
func (l line) names(generation int) string {
	l.t.Helper()
	all, err := l.store.Snapshots(l.t.Context(), l.vps.ID, generation)
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, s := range all {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

func TestSnapshotsStandInLine(t *testing.T) {
	l, _ := newLine(t)
	ctx := t.Context()
	made := map[string]holdfast.Snapshot{}
	for _, name := range []string{"a", "b", "c", "d"} {
		made[name] = l.make(name)
		if err := l.insert(made[name]); err != nil {
			t.Fatal(err)
		}
	}
	b := made["b"]
	b.Position = 2
	got, err := l.store.SnapshotByID(ctx, b.ID)
	same(t, "snapshot", got, err, b)
	if err := l.insert(l.make("b")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a second b: %v", err)
	}
	other := l.make("b") // of the disks that were before
	other.Generation--
	if err := l.insert(other); err != nil {
		t.Error(err)
	}
	b.Status, b.Error = holdfast.SnapshotDeleting, "why"
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error { return tx.SetSnapshot(ctx, b) })
	if err := l.insert(l.make("b")); err != nil {
		t.Errorf("a name is taken by what is being deleted: %v", err)
	}
	if got := l.names(3) + "; " + l.names(2); got != "a c d b; b" {
		t.Errorf("the lines are %q", got)
	}
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.DeleteLaterSnapshots(ctx, b), tx.DeleteSnapshot(ctx, made["a"].ID))
	})
	all, err := l.store.AllSnapshots(ctx, "", l.vps.ID)
	if got := fmt.Sprint(l.names(3), len(all), err); got != "2 <nil>" {
		t.Errorf("after going back to b: %q", got)
	}
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.DeleteSnapshotsOf(ctx, l.vps.ID, 2), tx.PutSnapshotSchedule(ctx, l.schedule()))
	})
	if l.names(2) != "" {
		t.Error("a dropped generation has snapshots")
	}
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteAllSnapshots(ctx, l.vps.ID) })
	all, err = l.store.AllSnapshots(ctx, l.vps.AccountID, "")
	if len(all) > 0 || err != nil {
		t.Errorf("a VPS that is gone has %v, %v", all, err)
	}
	if _, err := l.store.SnapshotSchedule(ctx, l.vps.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("and a schedule: %v", err)
	}
}

func (l line) schedule() holdfast.SnapshotSchedule {
	return holdfast.SnapshotSchedule{VPSID: l.vps.ID, AccountID: l.vps.AccountID, Enabled: true, IntervalHours: 4, LastAt: noon, NextAt: noon.Add(time.Hour), DueAt: noon}
}

// What is due: what has expired, and what should be gone; not while another
// operation works on the VPS, nor of disks that are not in force.
func TestDueSnapshots(t *testing.T) {
	wall := noon
	l, w := newLine(t, store.WithWallClock(func() time.Time { return wall }), store.WithSteadyClock(func() time.Duration { return 0 }))
	ctx := t.Context()
	expired, young, deleting, pending, older, later := l.make("expired"), l.make("young"), l.make("deleting"), l.make("pending"), l.make("older"), l.make("later")
	expired.ExpiresAt = noon
	deleting.Status = holdfast.SnapshotDeleting
	pending.Status, pending.ExpiresAt = holdfast.SnapshotPending, time.Time{}
	older.Generation, older.ExpiresAt = 2, noon
	later.ExpiresAt = noon
	for _, s := range []*holdfast.Snapshot{&expired, &young, &deleting, &pending, &older} {
		s.DueAt = noon
	}
	for _, s := range []holdfast.Snapshot{expired, young, deleting, pending, older, later} {
		if err := l.insert(s); err != nil {
			t.Fatal(err)
		}
	}
	due := func() string {
		t.Helper()
		all, err := l.store.DueSnapshots(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, s := range all {
			out = append(out, s.Name)
		}
		return strings.Join(out, " ")
	}
	if got := due(); got != "expired deleting" {
		t.Errorf("due: %q", got)
	}
	wall = noon.Add(2 * time.Hour)
	if got := due(); got != "expired young deleting" {
		t.Errorf("two hours later: %q", got)
	}
	power := w.operation(l.vps, holdfast.KindVPSStop, holdfast.LockPower)
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error { return tx.InsertOperation(ctx, power) })
	if got := due(); got != "expired young deleting" {
		t.Errorf("beside a power action: %q", got)
	}
	busy := w.operation(l.vps, holdfast.KindBackup, holdfast.LockData)
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error { return tx.InsertOperation(ctx, busy) })
	if got := due(); got != "" {
		t.Errorf("beside a backup: %q", got)
	}
}

func TestDueSchedules(t *testing.T) {
	wall := noon
	l, w := newLine(t, store.WithWallClock(func() time.Time { return wall }), store.WithSteadyClock(func() time.Duration { return 0 }))
	ctx := t.Context()
	sch := l.schedule()
	put := func() {
		t.Helper()
		write(t, l.store, func(ctx context.Context, tx *store.Tx) error { return tx.PutSnapshotSchedule(ctx, sch) })
	}
	due := func(what string, want int) {
		t.Helper()
		all, err := l.store.DueSchedules(ctx, 10)
		if len(all) != want || err != nil {
			t.Errorf("%s: %v, %v", what, all, err)
		}
	}
	due("none", 0)
	put()
	got, err := l.store.SnapshotSchedule(ctx, l.vps.ID)
	same(t, "schedule", got, err, sch)
	due("too early", 0)
	wall = noon.Add(time.Hour)
	due("now", 1)
	sch.DueAt = noon.Add(time.Microsecond)
	put()
	due("put off", 0)
	sch.DueAt, sch.Enabled = noon, false
	put()
	due("switched off", 0)
	sch.Enabled, sch.NextAt = true, wall.Add(26*time.Hour)
	put()
	due("further ahead than it can be", 1)
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error {
		return tx.SetService(ctx, l.vps.ID, holdfast.ServiceSuspended)
	})
	due("suspended", 0)
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.SetService(ctx, l.vps.ID, holdfast.ServiceActive),
			tx.InsertOperation(ctx, w.operation(l.vps, holdfast.KindBackup, holdfast.LockData)))
	})
	due("beside a backup", 0)
	write(t, l.store, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteSnapshotSchedule(ctx, l.vps.ID) })
	if err := l.store.Tx(ctx, func(tx *store.Tx) error { return tx.DeleteSnapshotSchedule(ctx, l.vps.ID) }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}
