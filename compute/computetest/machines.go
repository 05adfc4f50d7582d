package computetest

import (
	"slices"
	"time"

	"holdfast/compute"
)

var machineBehaviours = []behaviour{
	{"an unknown machine is not found", unknownMachine},
	{"define, list, delete, each twice", defineTwice},
	{"start and stop, each twice", startTwice},
	{"a machine outlives the service that started it", outlives},
	{"a guest's own power-off is told from every other end", poweredOff},
	{"fill writes what the machine's disk holds", fillBeforeStart},
	{"fill opened again ends the former one", fillAgain},
	{"fill of a running machine is refused", fillRunning},
	{"the console is bounded", console},
	{"probe says what the host can do", probe},
}

func unknownMachine(r *rig) {
	const unknown = "01jtest0000000000000absent"
	_, err := r.host.Inspect(r.ctx(), unknown)
	r.is(err, compute.ErrNotFound)
	r.is(r.host.Start(r.ctx(), unknown), compute.ErrNotFound)
	r.is(r.host.Stop(r.ctx(), unknown, 0), compute.ErrNotFound)
	_, err = r.host.Fill(r.ctx(), unknown, diskNames[0])
	r.is(err, compute.ErrNotFound)
	_, err = r.host.Console(r.ctx(), unknown, 10)
	r.is(err, compute.ErrNotFound)
	_, err = r.host.Begin(r.ctx(), compute.PointRequest{Machine: unknown, Point: r.point()}, func(compute.Handle) error { return nil })
	r.is(err, compute.ErrNotFound)
	r.must(r.host.Delete(r.ctx(), unknown))
	left, err := r.Leftovers(unknown, false)
	r.must(err)
	if len(left) > 0 {
		r.Errorf("asking about an unknown machine made %v", left)
	}
}

func defineTwice(r *rig) {
	r.define()
	r.must(r.host.Define(r.ctx(), r.definition(machine)))
	r.expectPower(compute.Stopped)
	const other = "01jtest00000000000000other"
	r.must(r.host.Define(r.ctx(), r.definition(other)))
	r.restart()
	if got := r.machines(); !slices.Equal(got, []string{other, machine}) {
		r.Fatalf("machines %v", got)
	}
	for range 2 {
		r.must(r.host.Delete(r.ctx(), other))
	}
	if got := r.machines(); !slices.Equal(got, []string{machine}) {
		r.Fatalf("machines %v", got)
	}
	// Defining again did not touch the data.
	r.verifyAndEnd(r.begin())
	// Also a running machine is deleted, with everything.
	r.must(r.host.Start(r.ctx(), machine))
	for range 2 {
		r.must(r.host.Delete(r.ctx(), machine))
	}
	r.nothingLeft(false)
	_, err := r.host.Inspect(r.ctx(), machine)
	r.is(err, compute.ErrNotFound)
}

// machines are the defined machines, sorted.
func (r *rig) machines() []string {
	r.Helper()
	found, err := r.host.Machines(r.ctx())
	r.must(err)
	slices.Sort(found)
	return found
}

func (r *rig) verifyAndEnd(h compute.Handle) {
	r.Helper()
	r.verify(h)
	r.end(h, compute.Abandoned)
}

func startTwice(r *rig) {
	r.define()
	r.must(r.host.Stop(r.ctx(), machine, time.Second))
	r.expectPower(compute.Stopped)
	for range 2 {
		for range 2 {
			r.must(r.host.Start(r.ctx(), machine))
			r.expectPower(compute.Running)
		}
		for range 2 {
			// Nothing boots in it, so nobody may react: force has to follow.
			r.must(r.host.Stop(r.ctx(), machine, 100*time.Millisecond))
			r.expectPower(compute.Stopped)
		}
	}
}

func poweredOff(r *rig) {
	r.define()
	off := func(want bool) {
		r.Helper()
		r.restart()
		st, err := r.host.Inspect(r.ctx(), machine)
		r.must(err)
		if st.Power != compute.Stopped || st.PoweredOff != want {
			r.Fatalf("%+v, want powered off: %v", st, want)
		}
	}
	off(false)
	for _, end := range []struct {
		how  func() error
		want bool
	}{
		{func() error { return r.Kill(machine) }, false},
		{func() error { return r.PowerOff(machine) }, true},
		{func() error { return r.host.Stop(r.ctx(), machine, 0) }, false},
	} {
		r.must(r.host.Start(r.ctx(), machine))
		st, err := r.host.Inspect(r.ctx(), machine)
		r.must(err)
		if st.PoweredOff {
			r.Fatalf("a machine that runs: %+v", st)
		}
		r.must(end.how())
		off(end.want)
	}
}

func outlives(r *rig) {
	r.running()
	before, err := r.host.Inspect(r.ctx(), machine)
	r.must(err)
	r.restart()
	after, err := r.host.Inspect(r.ctx(), machine)
	r.must(err)
	if after.Power != compute.Running || after.PID != before.PID || !after.Started.Equal(before.Started) {
		r.Fatalf("before the restart %+v, afterwards %+v", before, after)
	}
	r.write("disk0", 0, 1)
	r.verifyAndEnd(r.begin())
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.expectPower(compute.Stopped)
}

func fillBeforeStart(r *rig) {
	r.define() // it fills
	r.must(r.host.Start(r.ctx(), machine))
	r.verifyAndEnd(r.begin())
}

func fillAgain(r *rig) {
	r.define()
	former, err := r.host.Fill(r.ctx(), machine, "disk0")
	r.must(err)
	_, err = former.WriteAt([]byte("of the former"), 2*block)
	r.must(err)
	copy(r.now["disk0"][2*block:], "of the former")
	r.must(former.Sync(r.ctx()))

	r.restart()
	latter, err := r.host.Fill(r.ctx(), machine, "disk0")
	r.must(err)
	if _, err := former.WriteAt([]byte("too late"), 2*block); err == nil {
		r.Fatal("two sinks write to one disk")
	}
	_, err = latter.WriteAt([]byte("of the latter"), 3*block)
	r.must(err)
	copy(r.now["disk0"][3*block:], "of the latter")
	r.must(latter.Sync(r.ctx()))
	r.must(latter.Close())
	// Closing the former may fail, it has been ended; it must only not hurt.
	if err := former.Close(); err != nil {
		r.Logf("close of the former sink: %v", err)
	}
	r.verifyAndEnd(r.begin())
}

func fillRunning(r *rig) {
	r.running()
	_, err := r.host.Fill(r.ctx(), machine, "disk0")
	r.is(err, compute.ErrState)
	if _, err := r.host.Fill(r.ctx(), machine, "disk9"); err == nil {
		r.Fatal("a disk that does not exist was opened")
	}
}

func console(r *rig) {
	r.define()
	for range 2 {
		for _, limit := range []int{0, 5, 1 << 20} {
			text, err := r.host.Console(r.ctx(), machine, limit)
			r.must(err)
			if len(text) > limit {
				r.Errorf("%d bytes of console, at most %d were wanted", len(text), limit)
			}
		}
		r.must(r.host.Start(r.ctx(), machine))
	}
}

func probe(r *rig) {
	c, err := r.host.Probe(r.ctx())
	r.must(err)
	if c.Driver == "" || c.Version == "" || c.Accelerator == "" {
		r.Errorf("capabilities without a name: %+v", c)
	}
	if !c.LivePoint || !c.ChangeTracking {
		r.Errorf("the suite is for drivers with live points and change tracking: %+v", c)
	}
	r.define()
	handle := r.begin()
	if handle.Driver != c.Driver {
		r.Errorf("handle of driver %q, capabilities of %q", handle.Driver, c.Driver)
	}
	handle.Driver = "another"
	if err := r.host.Recover(r.ctx(), handle); err == nil {
		r.Error("a handle of another driver is taken for a whole point")
	}
	handle.Driver = c.Driver
	r.end(handle, compute.Abandoned)
}
