package computetest

import (
	"bytes"
	"slices"

	"holdfast/compute"
)

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

// snapshotsOfGenerations switches between two generations, each with a snapshot.
func snapshotsOfGenerations(r *rig) {
	if _, ok := r.host.(compute.Regenerator); !ok {
		return
	}
	now := func() map[string][]byte {
		content := map[string][]byte{}
		for name, bytes := range r.now {
			content[name] = slices.Clone(bytes)
		}
		return content
	}
	r.running()
	base := r.round()
	r.write("disk0", 0, 1)
	r.snapshot("a")
	r.write("disk0", 0, 2)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	first := now()
	holds := r.prepare()
	r.ready(holds)
	r.switchTo("2", holds)
	r.expectSnapshots()
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", 0, 3)
	r.snapshot("b")
	r.write("disk1", block, 4)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	latter := now()
	r.switchTo("1", first)
	r.expectSnapshots("a")
	for _, name := range diskNames {
		r.expectAside(name, latter[name])
	}
	r.rollback("a")
	h := r.begin(restored, base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
	r.switchTo("2", latter)
	r.expectSnapshots("b")
	h = r.begin(restored, base)
	r.expectParent(h, restored)
	r.verifyAndEnd(h)
	r.rollback("b")
	r.intact(restored)
}
