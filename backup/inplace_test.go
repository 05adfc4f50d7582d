package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/control"
	"holdfast/store"
)

// plane is the control plane, which the tests here ask as a customer does.
func (w *world) plane() (*control.Control, control.Caller) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.TouchHost(ctx, w.host, 0) })
	all, err := holdfast.ParseScopes("write:all")
	w.ok(err)
	return control.New(w.store, control.Options{Restore: control.RestorePolicy{Grace: time.Millisecond}}), control.Caller{Account: w.account, Scopes: all}
}

// back asks for a backup through the control plane, and makes it.
func (w *world) back() holdfast.Backup {
	w.t.Helper()
	c, caller := w.plane()
	a, err := c.CreateBackup(w.t.Context(), caller, w.vps.ID.String(), "", nil)
	w.ok(err)
	w.process().finish(a.Operation)
	return w.completed(a.Operation)
}

func (w *world) askInPlace(b holdfast.Backup) holdfast.Operation {
	w.t.Helper()
	c, caller := w.plane()
	a, err := c.RestoreInPlace(w.t.Context(), caller, w.vps.ID.String(), b.ID.String(), nil)
	w.ok(err)
	return a.Operation
}

func (w *world) askUndo() holdfast.Operation {
	w.t.Helper()
	c, caller := w.plane()
	a, err := c.UndoRestore(w.t.Context(), caller, w.vps.ID.String(), nil)
	w.ok(err)
	return a.Operation
}

// done proves that an operation has completed.
func (w *world) done(o holdfast.Operation) {
	w.t.Helper()
	if o = w.see(o.ID); o.Status != holdfast.OperationCompleted {
		w.t.Fatalf("%s is %s: %+v", o.Kind, o.Status, o.Failure)
	}
}

// has proves that the VPS runs with these disks, and that its row says so.
func (w *world) has(want map[string][]byte) {
	w.t.Helper()
	var err error
	w.vps, err = w.store.VPS(w.t.Context(), w.vps.ID)
	w.ok(err)
	if !same(w.contents(w.vps), want) {
		w.t.Error("the disks in force are not those")
	}
	st, err := w.hypervisor().Inspect(w.t.Context(), string(w.vps.ID))
	w.ok(err)
	if st.Power != compute.Running || w.vps.Power != holdfast.PowerRunning {
		w.t.Errorf("the VPS is %s, its row says %s", st.Power, w.vps.Power)
	}
}

func same(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

// generations are the names of a VPS's sets of disks, that in force first.
func (w *world) generations() []string {
	w.t.Helper()
	all, err := w.hypervisor().Generations(w.t.Context(), string(w.vps.ID))
	w.ok(err)
	var out []string
	for _, g := range all {
		out = append(out, g.Name)
	}
	return out
}

// sweep does what is to be done in the background, until nothing is.
func (w *world) sweep() {
	w.t.Helper()
	p := w.process()
	ctx, stop := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.door.Upkeep(ctx, w.host)
	}()
	p.run(p.until(func() bool {
		due, err := w.store.DueGenerations(context.Background(), 10)
		active, aerr := w.store.ActiveOperations(context.Background(), w.vps.ID)
		return err == nil && aerr == nil && len(due) == 0 && len(active) == 0
	}))
	stop()
	<-ended
}

// TestWrongBackupUndone restores an old backup over newer data, and takes that
// back: the bytes are those from before, and each backup on the way is right and
// reads only what it has to.
func TestWrongBackupUndone(t *testing.T) {
	w := newWorld(t)
	old, wasOld := w.back(), w.contents(w.vps)
	w.guestWrites("disk0", 0, 4*block)
	newer := w.back()
	w.guestWrites("disk1", 0, 2*block)
	before := w.contents(w.vps)

	o := w.askInPlace(old)
	p := w.process()
	p.finish(o)
	p.neverBack()
	w.done(o)
	w.has(wasOld)
	if got := w.generations(); !slices.Equal(got, []string{"2", "1"}) || w.vps.Generation != 2 || w.vps.Base != old.ID {
		t.Errorf("generations %v, the VPS has %d of %s", got, w.vps.Generation, w.vps.Base)
	}
	w.guestWrites("disk0", 20*block, block)
	b := w.back()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalDelta || b.ChangedBytes != block || b.Generation != 2 {
		t.Errorf("the backup after the restore: %s, %d bytes, generation %d", b.Incremental, b.ChangedBytes, b.Generation)
	}

	o = w.askUndo()
	w.process().finish(o)
	w.done(o)
	w.has(before)
	w.sweep()
	if got := w.generations(); !slices.Equal(got, []string{"1"}) || w.vps.Generation != 1 || w.vps.Base != "" {
		t.Errorf("generations %v, the VPS has %d of %s", got, w.vps.Generation, w.vps.Base)
	}
	w.guestWrites("disk1", 6*block, block)
	b = w.back()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalDelta || b.ChangedBytes > 4*block {
		t.Errorf("the backup after the undo: %s, %d bytes", b.Incremental, b.ChangedBytes)
	}
	// The number of the disks that are gone is not given out again.
	o = w.askInPlace(newer)
	w.process().finish(o)
	w.done(o)
	if got := w.generations(); !slices.Equal(got, []string{"3", "1"}) {
		t.Errorf("generations %v", got)
	}
	w.clean()
}

// TestSafetyPointExpires: the disks from before go after their time, and when
// another restore takes their place.
func TestSafetyPointExpires(t *testing.T) {
	w := newWorld(t)
	b := w.back()
	for range 2 {
		o := w.askInPlace(b)
		w.process().finish(o)
		w.done(o)
	}
	w.sweep()
	if got := w.generations(); !slices.Equal(got, []string{"3", "2"}) {
		t.Errorf("generations %v", got)
	}
	w.care.Restore.UndoFor = time.Nanosecond
	o := w.askInPlace(b)
	w.process().finish(o)
	w.done(o)
	c, caller := w.plane()
	if _, err := c.UndoRestore(t.Context(), caller, w.vps.ID.String(), nil); holdfast.CodeOf(err) != holdfast.CodeNothingToUndo {
		t.Errorf("undo of what has expired: %v", err)
	}
	w.sweep()
	if got := w.generations(); !slices.Equal(got, []string{"4"}) {
		t.Errorf("generations %v", got)
	}
}

// killing kills a process before the nth of its journal's entries, its calls of
// the driver and its operations' ends.
func (p *process) killing(n int) {
	seen := 0
	event := func() bool {
		p.door.mu.Lock()
		defer p.door.mu.Unlock()
		seen++
		if seen == n {
			p.dead.Store(true)
		}
		return seen == n
	}
	p.door.journal = func(string, int) { event() }
	p.inject(sim.Faults{}, func(string, int) error {
		if event() {
			panic(errDead)
		}
		return nil
	})
	p.door.finish = func() { event() }
}

// TestInPlaceKilledAnywhere kills a restore in place and its undo before each of
// their steps: the VPS has its old disks or the others, whole, and a successor
// ends what was begun.
func TestInPlaceKilledAnywhere(t *testing.T) {
	// Each of them with HOLDFAST_FULL, else every other one, by turns.
	const lanes = 4
	first, some := 0, lanes
	if os.Getenv("HOLDFAST_FULL") == "" {
		first, some = rand.IntN(2)*lanes/2, lanes/2
	}
	for lane := range some {
		t.Run(fmt.Sprint(first+lane), func(t *testing.T) {
			t.Parallel()
			for n, going := first+lane+1, true; going && !t.Failed(); n += lanes {
				going = inPlaceKilled(t, n)
			}
		})
	}
}

// inPlaceKilled says whether there is an nth event.
func inPlaceKilled(t *testing.T, n int) (killed bool) {
	w := newWorld(t)
	old, wasOld := w.back(), w.contents(w.vps)
	w.guestWrites("disk0", 0, 4*block)
	before := w.contents(w.vps)
	killed = w.killed(n, w.askInPlace(old), before, wasOld)
	w.has(wasOld)
	w.guestWrites("disk1", 3*block, block)
	b := w.back()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalDelta || b.ChangedBytes != block {
		t.Errorf("killed before event %d, the next backup: %s, %d bytes", n, b.Incremental, b.ChangedBytes)
	}
	now := w.contents(w.vps)
	w.killed(n, w.askUndo(), now, before)
	w.has(before)
	w.sweep()
	if got := w.generations(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("killed before event %d: generations %v", n, got)
	}
	w.clean()
	return killed
}

// killed runs an operation that is killed before its nth event, and then a
// successor. There may be fewer events: then nothing is killed.
func (w *world) killed(n int, o holdfast.Operation, before, after map[string][]byte) bool {
	w.t.Helper()
	p := w.process()
	p.killing(n)
	p.run(p.until(func() bool { return p.dead.Load() || !w.see(o.ID).Active() }))
	if p.dead.Load() {
		v, err := w.store.VPS(w.t.Context(), w.vps.ID)
		w.ok(err)
		if now := w.contents(v); !same(now, before) && !same(now, after) {
			w.t.Errorf("killed before event %d the VPS has a mixture", n)
		}
		w.ok(w.hypervisor().Start(w.t.Context(), string(v.ID))) // as after a reboot of the host
		w.ahead.Add(int64(2 * ttl))
		w.process().finish(o)
	}
	w.done(o)
	return p.dead.Load()
}
