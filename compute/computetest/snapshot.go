package computetest

import (
	"slices"
	"testing"

	"holdfast/compute"
)

// TestSnapshotter checks everything that compute.Snapshotter promises, of a
// Host that is one. start makes a new, empty host; its Cleanup removes it.
func TestSnapshotter(t *testing.T, start func(t *testing.T) Harness) {
	for _, c := range snapshotBehaviours {
		t.Run(c.name, func(t *testing.T) {
			c.test(newRig(t, start(t)))
		})
	}
}

var snapshotBehaviours = []behaviour{
	{"an unknown machine has no snapshots", snapshotsOfNone},
	{"a snapshot taken twice is one", snapshotTwice},
	{"a machine goes back to its snapshot", rollsBack},
	{"a snapshot of a stopped machine", snapshotStopped},
	{"a snapshot of a paused machine leaves it paused", snapshotPaused},
	{"snapshots survive the service, a restart and a kill", snapshotsSurvive},
	{"a snapshot is given up and the bytes stay, live", func(r *rig) { givesUp(r, true) }},
	{"a snapshot is given up and the bytes stay, stopped", func(r *rig) { givesUp(r, false) }},
	{"nothing goes on beside a point in time", snapshotsBusy},
	{"tracking goes through snapshots", tracksThrough},
	{"after a rollback the parent is the one before the snapshot", tracksBack},
	{"a machine with snapshots is not filled", snapshotNoFill},
	{"the shape of disks changes after snapshots", snapshotReshape},
	{"snapshots stay with their generation of disks", snapshotsOfGenerations},
	{"a machine is deleted with its snapshots", snapshotsDeleted},
}

func (r *rig) snapshotter() compute.Snapshotter {
	r.Helper()
	s, ok := r.host.(compute.Snapshotter)
	if !ok {
		r.Fatalf("%T is no compute.Snapshotter", r.host)
	}
	return s
}

// snapshot takes one, and remembers what is in it.
func (r *rig) snapshot(id string) compute.Snapshot {
	r.Helper()
	s, err := r.snapshotter().Snapshot(r.ctx(), machine, id)
	r.must(err)
	if s.ID != id || s.At.IsZero() {
		r.Fatalf("snapshot %q: %+v", id, s)
	}
	r.nothingLeft(true)
	r.remember(compute.Point("snapshot " + id))
	return s
}

// rollback goes back to a snapshot, and so does the model.
func (r *rig) rollback(id string) {
	r.Helper()
	r.must(r.snapshotter().Rollback(r.ctx(), machine, id))
	r.nothingLeft(true)
	for name, content := range r.points[compute.Point("snapshot "+id)] {
		r.now[name] = slices.Clone(content)
	}
}

// giveUp removes a snapshot, and checks what it says of its progress.
func (r *rig) giveUp(id string) {
	r.Helper()
	last := int64(0)
	r.must(r.snapshotter().RemoveSnapshot(r.ctx(), machine, id, func(done, total int64) {
		if done < 0 || done > total {
			r.Errorf("%d bytes are done of %d", done, total)
		}
		last = done
	}))
	if last < 0 {
		r.Errorf("ended at %d bytes", last)
	}
	r.nothingLeft(true)
}

// expectSnapshots checks which there are, the oldest first.
func (r *rig) expectSnapshots(want ...string) {
	r.Helper()
	list, err := r.snapshotter().Snapshots(r.ctx(), machine)
	r.must(err)
	var have []string
	for i, s := range list {
		have = append(have, s.ID)
		if s.Bytes < 0 || s.At.IsZero() || i > 0 && s.At.Before(list[i-1].At) {
			r.Errorf("snapshot %+v follows %+v", s, list[max(i-1, 0)])
		}
	}
	if !slices.Equal(have, want) {
		r.Fatalf("snapshots %v, want %v", have, want)
	}
}

// intact checks the bytes of the disks now, by a point in time.
func (r *rig) intact(parents ...compute.Point) {
	r.Helper()
	r.verifyAndEnd(r.begin(parents...))
}

func snapshotsOfNone(r *rig) {
	const unknown = "01jtest0000000000000absent"
	s := r.snapshotter()
	_, err := s.Snapshot(r.ctx(), unknown, "a")
	r.is(err, compute.ErrNotFound)
	_, err = s.Snapshots(r.ctx(), unknown)
	r.is(err, compute.ErrNotFound)
	r.is(s.Rollback(r.ctx(), unknown, "a"), compute.ErrNotFound)
	r.is(s.RemoveSnapshot(r.ctx(), unknown, "a", nil), compute.ErrNotFound)
	left, err := r.Leftovers(unknown, false)
	r.must(err)
	if len(left) > 0 {
		r.Errorf("asking about an unknown machine made %v", left)
	}
	r.define()
	r.expectSnapshots()
	r.is(s.Rollback(r.ctx(), machine, "a"), compute.ErrNoSnapshot)
	r.must(s.RemoveSnapshot(r.ctx(), machine, "a", nil))
	// What names files comes from the control plane.
	for _, id := range []string{"", "../a", "A", "a.b", "a-b", "0123456789012345678901234567890123"} {
		if _, err := s.Snapshot(r.ctx(), machine, id); err == nil {
			r.Errorf("a snapshot has the id %q", id)
		}
	}
	r.expectSnapshots()
}

func snapshotTwice(r *rig) {
	r.running()
	first := r.snapshot("a")
	r.write("disk0", 0, 1)
	again, err := r.snapshotter().Snapshot(r.ctx(), machine, "a")
	r.must(err)
	if !again.At.Equal(first.At) || again.ID != "a" || again.Frozen != first.Frozen {
		r.Fatalf("%+v is not %+v", again, first)
	}
	r.expectSnapshots("a")
	r.expectPower(compute.Running)
	r.intact()
}

func rollsBack(r *rig) {
	r.running()
	r.write("disk0", 0, 1)
	r.write("disk1", 0, 2)
	r.snapshot("a")
	for n := range byte(3) {
		r.write("disk0", int64(n)*block, 10+n)
		r.write("disk1", int64(n)*3*block, 20+n)
	}
	r.snapshot("b")
	r.write("disk0", 5*block, 30)
	r.snapshot("c")
	r.write("disk1", 5*block, 31)
	r.is(r.snapshotter().Rollback(r.ctx(), machine, "b"), compute.ErrState)
	r.intact()
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.rollback("b")
	r.expectSnapshots("a", "b")
	r.expectPower(compute.Stopped)
	r.intact()
	r.is(r.snapshotter().Rollback(r.ctx(), machine, "c"), compute.ErrNoSnapshot)
	// There and back, and there again: it stays.
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk0", 0, 40)
	r.intact()
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.rollback("b")
	r.intact()
	r.rollback("a")
	r.expectSnapshots("a")
	r.must(r.host.Start(r.ctx(), machine))
	r.intact()
}

func snapshotStopped(r *rig) {
	r.define()
	if s := r.snapshot("a"); s.Frozen {
		r.Errorf("a guest that does not run was frozen: %+v", s)
	}
	r.expectPower(compute.Stopped)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk0", 0, 1)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.snapshot("b")
	r.intact()
	r.rollback("a")
	r.intact()
}

func snapshotPaused(r *rig) {
	r.running()
	r.must(r.Pause(machine))
	if s := r.snapshot("a"); s.Frozen {
		r.Errorf("a guest that is paused was frozen: %+v", s)
	}
	r.expectPower(compute.Paused)
	r.giveUp("a")
	r.expectPower(compute.Paused)
	r.intact()
}

func snapshotsSurvive(r *rig) {
	r.running()
	r.snapshot("a")
	r.write("disk0", 0, 1)
	r.restart()
	r.expectSnapshots("a")
	r.snapshot("b")
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", 2*block, 2)
	r.expectSnapshots("a", "b")
	r.intact()
	r.must(r.Kill(machine))
	r.restart()
	r.expectSnapshots("a", "b")
	r.intact()
	r.rollback("b")
	r.intact()
	r.rollback("a")
	r.intact()
}

func snapshotsBusy(r *rig) {
	r.running()
	r.snapshot("a")
	for _, live := range []bool{true, false} {
		if !live {
			r.must(r.host.Stop(r.ctx(), machine, 0))
		}
		h := r.begin()
		s := r.snapshotter()
		_, err := s.Snapshot(r.ctx(), machine, "b")
		r.is(err, compute.ErrBusy)
		r.is(s.RemoveSnapshot(r.ctx(), machine, "a", nil), compute.ErrBusy)
		if !live {
			r.is(s.Rollback(r.ctx(), machine, "a"), compute.ErrBusy)
		}
		r.verify(h)
		r.end(h, compute.Committed)
		r.expectSnapshots("a")
	}
}
