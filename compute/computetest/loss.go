package computetest

import "holdfast/compute"

var lossBehaviours = []behaviour{
	{"a killed hypervisor loses the point", killed},
	{"a new process of the machine is not the old one", replaced},
	{"a forced stop loses the point and keeps tracking", stopLoses},
	{"a start during an offline point ends it", startEnds},
	{"a machine deleted during a point leaves nothing", deleted},
	{"a machine that was killed is backed up again", killedWithoutPoint},
}

func killed(r *rig) {
	r.running()
	base := r.round()
	r.write("disk0", 0, 1)
	h := r.begin(base)
	open := r.reader(h)
	r.must(r.Kill(machine))
	r.expectLostTo(open)
	r.expectLost(h)
	r.restart()
	r.expectLost(h)
	for range 2 {
		r.end(h, compute.Abandoned)
	}
	r.expectPower(compute.Stopped)
	r.again(base)
}

// again checks that whatever has become of change tracking, the next points
// tell no lies, stopped and running.
func (r *rig) again(base compute.Point) {
	r.Helper()
	for range 2 {
		h := r.begin(base)
		for _, d := range h.Disks {
			if d.Parent == "" && d.ParentLost == "" {
				r.Fatalf("%+v: the parent is lost without a reason", d)
			}
		}
		r.verify(h)
		r.end(h, compute.Committed)
		base = h.Point
		r.must(r.host.Start(r.ctx(), machine))
		r.write("disk1", 11*block, byte(r.attempt))
	}
	h := r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
}

func replaced(r *rig) {
	r.running()
	base := r.round()
	h := r.begin(base)
	r.must(r.Kill(machine))
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk0", 0, 1)
	r.expectLost(h)
	r.end(h, compute.Abandoned)
	r.expectPower(compute.Running)
	r.again(base)
}

func stopLoses(r *rig) {
	r.running()
	base := r.round()
	r.write("disk0", 0, 1)
	h := r.begin(base)
	r.write("disk0", block, 2)
	open := r.reader(h)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.expectPower(compute.Stopped)
	r.expectLostTo(open)
	r.expectLost(h)
	r.end(h, compute.Abandoned)
	r.expectPower(compute.Stopped)
	h = r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
}

func startEnds(r *rig) {
	r.define()
	base := r.round()
	h := r.begin(base)
	r.verify(h)
	open := r.reader(h)
	r.must(r.host.Start(r.ctx(), machine))
	r.expectPower(compute.Running)
	r.expectLostTo(open)
	r.expectLost(h)
	r.write("disk0", 6*block, 1)
	r.end(h, compute.Abandoned)
	r.expectPower(compute.Running)
	r.write("disk0", 7*block, 2)
	h = r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
}

func deleted(r *rig) {
	for _, live := range []bool{false, true} {
		r.define()
		if live {
			r.must(r.host.Start(r.ctx(), machine))
		}
		h := r.begin()
		open := r.reader(h)
		r.must(r.host.Delete(r.ctx(), machine))
		r.expectLostTo(open)
		r.nothingLeft(false)
		r.is(r.host.Recover(r.ctx(), h), compute.ErrPointLost)
		r.end(h, compute.Abandoned)
		r.nothingLeft(false)
	}
}

func killedWithoutPoint(r *rig) {
	r.running()
	base := r.round()
	r.write("disk0", 0, 1)
	r.must(r.Kill(machine))
	r.restart()
	r.expectPower(compute.Stopped)
	r.again(base)
}
