package computetest

import (
	"sync"

	"holdfast/compute"
)

var pointBehaviours = []behaviour{
	{"a running machine's point does not see later writes", isolation},
	{"a point is one instant across disks", oneInstant},
	{"a stopped machine stays stopped", stoppedStays},
	{"a paused machine stays paused", pausedStays},
	{"a successor reads on", successor},
	{"end is idempotent", endTwice},
	{"a discarded range hurts no neighbour", discard},
	{"a limit of the guest's writes ends with the point", limited},
}

func isolation(r *rig) {
	r.running()
	r.write("disk0", 0, 1)
	r.write("disk1", 8*block, 2)
	h := r.begin()
	for _, d := range h.Disks {
		if d.Parent != "" || d.ParentLost != "" {
			r.Fatalf("%+v: no parents were given", d)
		}
	}
	r.write("disk0", 0, 3)        // over data
	r.write("disk0", 20*block, 4) // into a hole
	r.write("disk1", block, 5)
	r.verify(h)
	r.expectPower(compute.Running)
	r.end(h, compute.Committed)
	r.expectPower(compute.Running)
	r.write("disk0", 21*block, 6)
	r.verifyAndEnd(r.begin())
}

// oneInstant has a writer go from disk to disk while points are taken: the
// first disk may be ahead of the second by the write under way, no more.
func oneInstant(r *rig) {
	r.running()
	quit := make(chan struct{})
	var failure error
	var group sync.WaitGroup
	group.Go(func() {
		for n := 1; ; n++ {
			for _, name := range diskNames {
				select {
				case <-quit:
					return
				default:
				}
				if failure = r.Write(machine, name, 0, 4096, byte(n)); failure != nil {
					return
				}
			}
		}
	})
	defer func() {
		close(quit)
		group.Wait()
		r.must(failure)
	}()
	for range 5 {
		h := r.begin()
		var seen []byte
		for _, name := range diskNames {
			source, err := r.host.Open(r.ctx(), h, name)
			r.must(err)
			p := make([]byte, 4096)
			_, err = source.ReadAt(p, 0)
			r.must(err)
			for _, b := range p {
				if b != p[0] {
					r.Fatalf("%s: a write is torn", name)
				}
			}
			seen = append(seen, p[0])
			r.must(source.Close())
		}
		if ahead := seen[0] - seen[1]; ahead > 1 {
			r.Fatalf("disks of different instants: writes %d and %d", seen[0], seen[1])
		}
		r.end(h, compute.Abandoned)
	}
}

func stoppedStays(r *rig) {
	r.define()
	h := r.begin()
	r.expectPower(compute.Stopped)
	r.verify(h)
	r.end(h, compute.Committed)
	r.expectPower(compute.Stopped)
	// Tracking begun while stopped goes on when the machine runs.
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", 4*block, 7)
	next := r.begin(h.Point)
	r.expectParent(next, h.Point)
	r.verify(next)
	r.end(next, compute.Committed)
	// And when it has stopped again.
	r.must(r.host.Stop(r.ctx(), machine, 0))
	last := r.begin(next.Point, h.Point)
	r.expectParent(last, next.Point)
	r.verifyAndEnd(last)
}

func pausedStays(r *rig) {
	r.running()
	r.write("disk0", 0, 1)
	r.must(r.Pause(machine))
	h := r.begin()
	r.expectPower(compute.Paused)
	r.verify(h)
	r.end(h, compute.Committed)
	r.expectPower(compute.Paused)
}

func successor(r *rig) {
	for _, live := range []bool{false, true} {
		if live {
			r.must(r.host.Start(r.ctx(), machine))
			r.write("disk0", 0, 1)
		} else {
			r.define()
		}
		h := r.begin()
		r.restart()
		r.must(r.host.Recover(r.ctx(), h))
		if live {
			r.write("disk0", 0, 2)
		}
		r.verify(h)
		r.restart()
		r.end(h, compute.Committed)
	}
}

func endTwice(r *rig) {
	r.running()
	for _, outcome := range []compute.Outcome{compute.Abandoned, compute.Committed} {
		h := r.begin()
		r.write("disk0", 5*block, 9)
		for range 3 {
			r.end(h, outcome)
			r.restart()
		}
		r.expectLost(h)
	}
}

func discard(r *rig) {
	r.running()
	r.write("disk0", 0, 1)
	r.write("disk0", block, 2)
	r.write("disk0", 2*block, 3)
	h := r.begin()
	source, err := r.host.Open(r.ctx(), h, "disk0")
	r.must(err)
	r.must(source.Discard(r.ctx(), block, block))
	for i := range int64(3) {
		r.write("disk0", i*block, 0xff)
	}
	for _, i := range []int64{0, 2} {
		p := make([]byte, block)
		_, err := source.ReadAt(p, i*block)
		r.must(err)
		if want := byte(i + 1); p[0] != want || p[block-1] != want {
			r.Errorf("block %d beside a discarded one reads as %d, want %d", i, p[0], want)
		}
	}
	r.must(source.Close())
	r.end(h, compute.Committed)
}
