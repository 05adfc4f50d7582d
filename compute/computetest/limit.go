package computetest

import "holdfast/compute"

// limited takes points that limit the guest's writes: the handle says so of a
// machine that runs and of no other, and Leftovers finds no limit after the
// end. (That it ends with its process, only a process can show.)
func limited(r *rig) {
	const limit = 1 << 30 // the suite's own writes do not feel it
	r.running()
	begin := func() compute.Handle {
		h, err := r.host.Begin(r.ctx(), compute.PointRequest{Machine: machine, Point: r.point(), WriteBytesPerSecond: limit},
			func(compute.Handle) error { return nil })
		r.must(err)
		r.remember(h.Point)
		return h
	}
	h := begin()
	if h.WriteBytesPerSecond != limit {
		r.Errorf("the handle says %d bytes per second", h.WriteBytesPerSecond)
	}
	r.write("disk0", block, 7)
	r.verify(h)
	r.end(h, compute.Committed)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	if h = begin(); h.WriteBytesPerSecond != 0 {
		r.Errorf("the handle of a stopped machine says %d bytes per second", h.WriteBytesPerSecond)
	}
	r.end(h, compute.Abandoned)
}
