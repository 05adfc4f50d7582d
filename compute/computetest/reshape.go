package computetest

import (
	"fmt"
	"testing"

	"holdfast/compute"
)

// TestReshaper checks everything that compute.Reshaper promises, of hosts that
// are one.
func TestReshaper(t *testing.T, start func(t *testing.T) Harness) {
	for _, c := range reshapeBehaviours {
		t.Run(c.name, func(t *testing.T) { c.test(newRig(t, start(t))) })
	}
}

var reshapeBehaviours = []behaviour{
	{"a disk grows under a running machine", growLive},
	{"a disk grows while stopped, and never shrinks", growStopped},
	{"growing survives the death of the hypervisor", growKilled},
	{"a disk is added", addDisk},
	{"a disk is removed", removeDisk},
	{"nothing is reshaped under a point in time", reshapeBusy},
	{"nothing is reshaped that has snapshots", reshapeSnapshots},
	{"what cannot be is refused", reshapeRefused},
}

func (r *rig) reshaper() compute.Reshaper {
	r.Helper()
	host, ok := r.host.(compute.Reshaper)
	if !ok {
		r.Fatalf("%T is no compute.Reshaper", r.host)
	}
	return host
}

// grow makes a disk larger, and is repeated.
func (r *rig) grow(name string, size int64) {
	r.Helper()
	r.must(r.reshaper().Grow(r.ctx(), machine, name, size))
	r.restart()
	r.must(r.reshaper().Grow(r.ctx(), machine, name, size))
	r.now[name] = append(r.now[name], make([]byte, int(size)-len(r.now[name]))...)
}

// commit takes a point relative to another one, proves it and commits it.
func (r *rig) commit(parent compute.Point) compute.Point {
	r.Helper()
	h := r.begin(parent)
	r.expectParent(h, parent)
	r.verify(h)
	r.end(h, compute.Committed)
	return h.Point
}

func growLive(r *rig) {
	r.running()
	base := r.round()
	r.write("disk0", 3*block, 1)
	r.grow("disk0", diskSize+2*block+4096) // not a whole number of blocks
	r.expectPower(compute.Running)
	r.write("disk0", diskSize, 2) // in the new part
	r.write("disk1", 0, 3)        // beside it
	base = r.commit(base)
	r.write("disk0", diskSize+block, 4)
	base = r.commit(base)
	r.grow("disk0", 3*diskSize) // twice, and with nothing written since
	base = r.commit(base)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk0", 3*diskSize-block, 5)
	r.commit(base)
}

func growStopped(r *rig) {
	r.define()
	base := r.round()
	r.grow("disk1", 2*diskSize)
	base = r.commit(base)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", diskSize+block, 1)
	base = r.commit(base)
	r.is(r.reshaper().Grow(r.ctx(), machine, "disk1", diskSize), compute.ErrState)
	r.commit(base)
}

// growKilled: what was said to be done is, and what tracking there is tells the
// truth.
func growKilled(r *rig) {
	r.running()
	base := r.round()
	r.grow("disk0", 2*diskSize)
	r.write("disk0", diskSize, 1)
	r.must(r.Kill(machine))
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk0", 2*diskSize-block, 2)
	h := r.begin(base)
	r.verify(h)
	r.end(h, compute.Committed)
	r.grow("disk0", 3*diskSize)
	r.commit(h.Point)
}

func addDisk(r *rig) {
	r.running()
	base := r.round()
	added := compute.Disk{Name: "disk2", SizeBytes: diskSize / 2}
	r.is(r.reshaper().AddDisk(r.ctx(), machine, added), compute.ErrState)
	r.write("disk1", 0, 1)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	for range 2 {
		r.must(r.reshaper().AddDisk(r.ctx(), machine, added))
		r.restart()
	}
	added.SizeBytes *= 2
	r.is(r.reshaper().AddDisk(r.ctx(), machine, added), compute.ErrState)
	r.now["disk2"] = make([]byte, diskSize/2)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk2", block, 2)
	h := r.begin(base)
	r.expectParents(h, map[string]compute.Point{"disk0": base, "disk1": base})
	r.verify(h)
	r.end(h, compute.Committed)
	r.write("disk2", 2*block, 3)
	r.commit(h.Point)
}

func removeDisk(r *rig) {
	r.running()
	base := r.round()
	r.is(r.reshaper().RemoveDisk(r.ctx(), machine, "disk1"), compute.ErrState)
	r.write("disk0", 0, 1)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.is(r.reshaper().RemoveDisk(r.ctx(), machine, "disk0"), compute.ErrState)
	for range 2 {
		r.must(r.reshaper().RemoveDisk(r.ctx(), machine, "disk1"))
		r.restart()
	}
	delete(r.now, "disk1")
	later := r.commit(base)
	// One of the same name is another disk: nothing of the former is known of it.
	r.must(r.reshaper().AddDisk(r.ctx(), machine, compute.Disk{Name: "disk1", SizeBytes: diskSize}))
	r.now["disk1"] = make([]byte, diskSize)
	h := r.begin(later, base)
	r.expectParents(h, map[string]compute.Point{"disk0": later})
	r.verify(h)
	r.end(h, compute.Committed)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", block, 2)
	r.commit(h.Point)
}

func reshapeBusy(r *rig) {
	r.running()
	base := r.round()
	h := r.begin(base)
	r.is(r.reshaper().Grow(r.ctx(), machine, "disk0", 2*diskSize), compute.ErrBusy)
	r.verify(h)
	r.end(h, compute.Committed)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	h = r.begin(h.Point)
	r.is(r.reshaper().AddDisk(r.ctx(), machine, compute.Disk{Name: "disk2", SizeBytes: block}), compute.ErrBusy)
	r.is(r.reshaper().RemoveDisk(r.ctx(), machine, "disk1"), compute.ErrBusy)
	r.verify(h)
	r.end(h, compute.Committed)
}

func reshapeSnapshots(r *rig) {
	r.define()
	base := r.round()
	shots, ok := r.host.(compute.Snapshotter)
	if !ok {
		return // a host without snapshots has nothing to refuse
	}
	_, err := shots.Snapshot(r.ctx(), machine, "s1")
	r.must(err)
	r.is(r.reshaper().Grow(r.ctx(), machine, "disk0", 2*diskSize), compute.ErrState)
	r.is(r.reshaper().AddDisk(r.ctx(), machine, compute.Disk{Name: "disk2", SizeBytes: block}), compute.ErrState)
	r.is(r.reshaper().RemoveDisk(r.ctx(), machine, "disk1"), compute.ErrState)
	base = r.commit(base)
	r.must(shots.RemoveSnapshot(r.ctx(), machine, "s1", nil))
	r.grow("disk0", 2*diskSize)
	r.commit(base)
}

func reshapeRefused(r *rig) {
	r.define()
	host := r.reshaper()
	for what, err := range map[string]error{
		"growing a disk that is not there": host.Grow(r.ctx(), machine, "disk9", 2*diskSize),
		"a name that is a path":            host.AddDisk(r.ctx(), machine, compute.Disk{Name: "../disk2", SizeBytes: block}),
		"a disk of nothing":                host.AddDisk(r.ctx(), machine, compute.Disk{Name: "disk2"}),
		"another's file as an image":       host.AddDisk(r.ctx(), machine, compute.Disk{Name: "disk2", SizeBytes: block, Image: "/etc/passwd"}),
	} {
		if err == nil {
			r.Errorf("%s succeeds", what)
		}
	}
	r.is(host.Grow(r.ctx(), "01jtest00000000000000000no", "disk0", block), compute.ErrNotFound)
	h := r.begin()
	r.verifyAndEnd(h)
	for i := 2; i < 16; i++ {
		r.must(host.AddDisk(r.ctx(), machine, compute.Disk{Name: fmt.Sprintf("disk%d", i), SizeBytes: block}))
	}
	if host.AddDisk(r.ctx(), machine, compute.Disk{Name: "disk16", SizeBytes: block}) == nil {
		r.Error("a seventeenth disk is added")
	}
}

// expectParents checks what each disk is relative to; the others to nothing, with
// a reason.
func (r *rig) expectParents(h compute.Handle, want map[string]compute.Point) {
	r.Helper()
	for _, d := range h.Disks {
		if d.Parent != want[d.Name] || (d.Parent == "") != (d.ParentLost != "") {
			r.Fatalf("%s: parent %q (lost: %q), want %q", d.Name, d.Parent, d.ParentLost, want[d.Name])
		}
	}
}
