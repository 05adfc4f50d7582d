package computetest

import (
	"bytes"
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

// givesUp removes the oldest, the middle and the newest of a line in turn.
func givesUp(r *rig, live bool) {
	for first := range 3 {
		r.define()
		r.must(r.host.Start(r.ctx(), machine))
		base := r.round()
		ids := []string{"a", "b", "c"}
		for n, id := range ids {
			r.write("disk0", int64(n)*block, byte(1+n)) // in several layers
			r.write("disk0", 9*block, byte(1+n))
			r.snapshot(id)
		}
		r.write("disk1", 0, 9)
		if !live {
			r.must(r.host.Stop(r.ctx(), machine, 0))
		}
		for len(ids) > 0 {
			at := first % len(ids)
			r.giveUp(ids[at])
			r.giveUp(ids[at])
			ids = slices.Delete(ids, at, at+1)
			r.expectSnapshots(ids...)
			h := r.begin(base)
			r.expectParent(h, base)
			r.verifyAndEnd(h)
			if live {
				r.write("disk1", 3*block, byte(len(ids)))
			}
			if len(ids) == 1 {
				r.oldest(ids[0], live, base)
			}
		}
		r.must(r.host.Delete(r.ctx(), machine))
		r.nothingLeft(false)
	}
}

// oldest checks that what is left of the line is whole, by going back to it.
func (r *rig) oldest(id string, live bool, base compute.Point) {
	r.Helper()
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.rollback(id)
	r.intact(base)
	if live {
		r.must(r.host.Start(r.ctx(), machine))
	}
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

func tracksThrough(r *rig) {
	r.running()
	parents := []compute.Point{r.round()}
	r.write("disk0", 0, 1)
	r.snapshot("a")
	r.write("disk0", 2*block, 2)
	h := r.begin(parents...)
	r.expectParent(h, parents[0])
	if n := r.dirtyBytes(h, "disk1"); n != 0 {
		r.Errorf("%d bytes are to be read of disk1, none were written", n)
	}
	if n := r.dirtyBytes(h, "disk0"); n < 2*block || n > 4*block {
		r.Errorf("%d bytes are to be read of disk0, %d were written", n, 2*block)
	}
	r.write("disk0", 4*block, 3)
	r.verify(h)
	r.end(h, compute.Abandoned)
	h = r.begin(parents...)
	r.expectParent(h, parents[0])
	r.verify(h)
	r.end(h, compute.Committed)
	parents = append([]compute.Point{h.Point}, parents...)
	r.write("disk1", 4*block, 4)
	r.snapshot("b")
	r.write("disk1", 5*block, 5)
	h = r.begin(parents...)
	r.expectParent(h, parents[0])
	r.verifyAndEnd(h)
	// The younger one changes nothing of what changed since.
	r.giveUp("b")
	h = r.begin(parents...)
	r.expectParent(h, parents[0])
	if n := r.dirtyBytes(h, "disk1"); n < 2*block || n > 4*block {
		r.Errorf("%d bytes are to be read of disk1, %d were written", n, 2*block)
	}
	r.verify(h)
	r.end(h, compute.Committed)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	last := r.begin(h.Point)
	r.expectParent(last, h.Point)
	r.verifyAndEnd(last)
}

func tracksBack(r *rig) {
	r.running()
	first := r.round()
	r.write("disk0", 0, 1)
	r.snapshot("a")
	r.write("disk0", 2*block, 2)
	second := r.round()
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.rollback("a")
	h := r.begin(second, first)
	r.expectParent(h, first)
	r.verifyAndEnd(h)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", 2*block, 3)
	h = r.begin(second, first)
	r.expectParent(h, first)
	r.verifyAndEnd(h)
	// Without that one all has to be read.
	h = r.begin(second)
	r.expectParent(h, "")
	r.verify(h)
	r.end(h, compute.Committed)
	r.write("disk1", 4*block, 4)
	last := r.begin(h.Point, second)
	r.expectParent(last, h.Point)
	r.verifyAndEnd(last)
}

func snapshotNoFill(r *rig) {
	r.define()
	r.snapshot("a")
	_, err := r.host.Fill(r.ctx(), machine, "disk0")
	r.is(err, compute.ErrState)
	r.intact()
	r.giveUp("a")
	sink, err := r.host.Fill(r.ctx(), machine, "disk0")
	r.must(err)
	data := bytes.Repeat([]byte{7}, block)
	_, err = sink.WriteAt(data, 0)
	r.must(err)
	copy(r.now["disk0"], data)
	r.must(sink.Sync(r.ctx()))
	r.must(sink.Close())
	r.intact()
}

func snapshotReshape(r *rig) {
	shaper, ok := r.host.(compute.Reshaper)
	if !ok {
		return // a driver that cannot change it has nothing to get wrong
	}
	r.running()
	base := r.round()
	r.write("disk0", 0, 1)
	r.snapshot("a")
	r.write("disk0", block, 2)
	r.is(shaper.Grow(r.ctx(), machine, "disk0", 2*r.size), compute.ErrState)
	r.giveUp("a")
	for _, name := range diskNames {
		r.must(shaper.Grow(r.ctx(), machine, name, 2*r.size))
		r.now[name] = append(r.now[name], make([]byte, r.size)...)
		r.points[base][name] = append(r.points[base][name], make([]byte, r.size)...)
	}
	r.size *= 2
	r.write("disk1", r.size-block, 3)
	r.snapshot("b")
	r.write("disk1", r.size-2*block, 4)
	r.giveUp("b")
	h := r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
	// A disk of the same name has nothing of the former one.
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.must(shaper.RemoveDisk(r.ctx(), machine, "disk1"))
	r.must(shaper.AddDisk(r.ctx(), machine, compute.Disk{Name: "disk1", SizeBytes: r.size}))
	clear(r.now["disk1"])
	r.snapshot("c")
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", 0, 5)
	r.intact()
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.rollback("c")
	r.intact()
}

func snapshotsDeleted(r *rig) {
	for _, live := range []bool{false, true} {
		r.define()
		r.snapshot("a")
		if live {
			r.must(r.host.Start(r.ctx(), machine))
		}
		r.snapshot("b")
		r.must(r.host.Delete(r.ctx(), machine))
		r.nothingLeft(false)
	}
}
