package computetest

import (
	"slices"

	"holdfast/compute"
)

// givesUp removes a line from its oldest, or from the middle and from its newest.
func givesUp(r *rig, live bool) {
	order := []int{0}
	if live {
		order = []int{1, 2}
	}
	for _, first := range order {
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
