package computetest

import "holdfast/compute"

var trackingBehaviours = []behaviour{
	{"committed points advance tracking", committedAdvances},
	{"an abandoned point's changes are not forgotten", abandonedMerges},
	{"a parent that is gone is not used", parentGone},
	{"a commit without a parent starts over", startsOver},
	{"tracking survives a stop", survivesStop},
	{"little changed, little to read", littleToRead},
}

func committedAdvances(r *rig) {
	r.running()
	r.write("disk0", 0, 1)
	parents := []compute.Point{r.round()}
	for n := range byte(3) {
		r.write("disk0", int64(n)*2*block, 10+n)
		h := r.begin(parents...)
		r.expectParent(h, parents[0])
		// Written while the backup runs: not in this one, but in the next.
		r.write("disk1", int64(n)*3*block, 20+n)
		r.verify(h)
		r.end(h, compute.Committed)
		parents = append([]compute.Point{h.Point}, parents...)
	}
	last := r.begin(parents...)
	r.expectParent(last, parents[0])
	r.verifyAndEnd(last)
}

func abandonedMerges(r *rig) {
	r.running()
	base := r.round()
	for n := range byte(3) {
		r.write("disk0", int64(n+2)*block, 30+n) // before the point
		h := r.begin(base)
		r.expectParent(h, base)
		r.write("disk1", int64(n+5)*block, 40+n) // while it is open
		r.verify(h)
		r.end(h, compute.Abandoned)
		r.write("disk0", int64(n+20)*block, 50+n) // after it
	}
	h := r.begin(base)
	r.expectParent(h, base)
	r.verify(h)
	r.end(h, compute.Committed)
}

func parentGone(r *rig) {
	r.running()
	r.round()
	h := r.begin("01jtest000000000000another.1")
	r.expectParent(h, "")
	r.verifyAndEnd(h)
}

func startsOver(r *rig) {
	r.running()
	first := r.round()
	r.write("disk0", 0, 1)
	second := r.round() // no parents are given: that backup was deleted
	r.write("disk1", 0, 2)
	h := r.begin(second, first)
	r.expectParent(h, second)
	r.verifyAndEnd(h)
	// An abandoned first backup leaves tracking that no manifest goes with.
	h = r.begin()
	r.end(h, compute.Abandoned)
	h = r.begin(h.Point)
	for _, d := range h.Disks {
		if d.Parent == h.Point {
			r.Fatalf("%+v: its parent is itself", d)
		}
	}
	r.verifyAndEnd(h)
}

func survivesStop(r *rig) {
	r.running()
	base := r.round()
	r.write("disk0", 3*block, 1)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	h := r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", 4*block, 2)
	h = r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
}

func littleToRead(r *rig) {
	r.running()
	base := r.round()
	r.write("disk0", 9*block, 1)
	h := r.begin(base)
	// One block of 64 KiB, and what a driver's granularity adds around it.
	if n := r.dirtyBytes(h, "disk0"); n < block || n > 4*block {
		r.Errorf("%d bytes are to be read of disk0, %d were written", n, block)
	}
	if n := r.dirtyBytes(h, "disk1"); n != 0 {
		r.Errorf("%d bytes are to be read of disk1, none were written", n)
	}
	r.verifyAndEnd(h)
}
