package computetest

import "holdfast/compute"

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
