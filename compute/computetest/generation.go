package computetest

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"holdfast/compute"
)

// TestRegenerator checks everything that compute.Regenerator promises, of a Host
// that is one. start makes a new, empty host; its Cleanup removes it.
func TestRegenerator(t *testing.T, start func(t *testing.T) Harness) {
	for _, c := range generationBehaviours {
		t.Run(c.name, func(t *testing.T) { c.test(newRig(t, start(t))) })
	}
}

var generationBehaviours = []behaviour{
	{"a generation is made beside a machine that runs, and put in force", regenerates},
	{"the generation before comes back with its bytes and its tracking", goesBack},
	{"the snapshots of a generation go and come back with it", snapshotsGoBack},
	{"a generation has disks of its own", otherDisks},
	{"a point in time of a stopped machine ends with a switch", switchesUnderPoint},
	{"what cannot be is refused", regenerateRefused},
	{"a disk is filled by one at a time", fillGenerationAgain},
	{"a generation is dropped with all that is in it", drops},
	{"a machine is deleted with its generations", deletesGenerations},
}

// restored is the point that a generation of the suite is filled from.
const restored compute.Point = "01jtest000000000000restored.1"

// second is that generation.
const second = "2"

func (r *rig) regenerator() compute.Regenerator {
	r.Helper()
	g, ok := r.host.(compute.Regenerator)
	if !ok {
		r.Fatalf("%T is no compute.Regenerator", r.host)
	}
	return g
}

// prepare makes a generation and fills it, and returns what it holds. Everything
// is done twice, by services that know nothing of each other.
func (r *rig) prepare(disks ...compute.Disk) map[string][]byte {
	r.Helper()
	if len(disks) == 0 {
		disks = r.definition(machine).Disks
	}
	holds := map[string][]byte{}
	for range 2 {
		r.must(r.regenerator().Prepare(r.ctx(), machine, second, disks))
		for i, d := range disks {
			holds[d.Name] = make([]byte, d.SizeBytes)
			data := bytes.Repeat([]byte{byte(0xd0 + i)}, block)
			r.fillDisk(d.Name, data, 2*block)
			copy(holds[d.Name][2*block:], data)
		}
		r.restart()
	}
	for _, d := range disks {
		r.expectAside(d.Name, holds[d.Name])
	}
	return holds
}

// ready ends the filling, at the point "restored", and knows what that holds.
func (r *rig) ready(holds map[string][]byte) {
	r.Helper()
	at := map[string]compute.Point{}
	for disk := range holds {
		at[disk] = restored
	}
	for range 2 {
		r.must(r.regenerator().Ready(r.ctx(), machine, second, at))
		r.restart()
	}
	r.points[restored] = maps.Clone(holds)
}

// switchTo puts a generation of a stopped machine in force.
func (r *rig) switchTo(name string, holds map[string][]byte) {
	r.Helper()
	for range 2 {
		r.must(r.regenerator().Switch(r.ctx(), machine, name))
		r.restart()
	}
	r.now = map[string][]byte{}
	for disk, content := range holds {
		r.now[disk] = slices.Clone(content)
	}
	r.nothingLeft(true)
}

func (r *rig) fillDisk(disk string, data []byte, off int64) {
	r.Helper()
	sink, err := r.regenerator().FillGeneration(r.ctx(), machine, second, disk)
	r.must(err)
	_, err = sink.WriteAt(data, off)
	r.must(err)
	r.must(sink.Sync(r.ctx()))
	r.must(sink.Close())
}

// expectAside reads a disk of a generation that is not in force.
func (r *rig) expectAside(disk string, want []byte) {
	r.Helper()
	source, err := r.regenerator().OpenGeneration(r.ctx(), machine, second, disk)
	r.must(err)
	got := make([]byte, len(want))
	if _, err := source.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
		r.Fatal(err)
	}
	if source.Size() != int64(len(want)) || !bytes.Equal(got, want) {
		r.Fatalf("%s of generation %s has %d bytes, want %d; first difference in block %d",
			disk, second, source.Size(), len(want), firstDifference(got, want))
	}
	next := int64(0)
	for e, err := range source.Extents(r.ctx()) {
		r.must(err)
		if e.Offset != next || e.Clean || e.Zero && len(bytes.Trim(want[e.Offset:e.End()], "\x00")) > 0 {
			r.Fatalf("%s of generation %s: extent %+v at %d", disk, second, e, next)
		}
		next = e.End()
	}
	if next != int64(len(want)) {
		r.Fatalf("%s of generation %s: extents end at %d", disk, second, next)
	}
	r.must(source.Close())
}

// expectGenerations checks which there are; the first is in force.
func (r *rig) expectGenerations(want ...string) []compute.Generation {
	r.Helper()
	found, err := r.regenerator().Generations(r.ctx(), machine)
	r.must(err)
	slices.SortFunc(found, func(a, b compute.Generation) int {
		return slices.Index(want, a.Name) - slices.Index(want, b.Name)
	})
	var have []string
	for i, g := range found {
		have = append(have, g.Name)
		if g.Current != (i == 0) || len(g.Disks) == 0 || g.Bytes <= 0 || g.Current && !g.Ready {
			r.Errorf("generation %+v of %v", g, want)
		}
	}
	if !slices.Equal(have, want) {
		r.Fatalf("generations %v, want %v", have, want)
	}
	return found
}

func regenerates(r *rig) {
	r.running()
	r.write("disk0", 0, 1)
	base := r.round()
	holds := r.prepare()
	// Nothing of that concerns the machine: it is written to, backed up and
	// started while a disk is open to be filled.
	sink, err := r.regenerator().FillGeneration(r.ctx(), machine, second, "disk0")
	r.must(err)
	r.write("disk0", 3*block, 2)
	h := r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.must(r.host.Start(r.ctx(), machine))
	r.must(sink.Close())
	if found := r.expectGenerations("1", "2"); found[1].Ready {
		r.Errorf("a generation that is being filled: %+v", found[1])
	}
	r.ready(holds)
	if found := r.expectGenerations("1", "2"); !found[1].Ready {
		r.Errorf("a generation that is ready: %+v", found[1])
	}
	r.verifyAndEnd(r.begin(base))
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.switchTo("2", holds)
	r.expectGenerations("2", "1")
	r.expectPower(compute.Stopped)
	r.must(r.host.Start(r.ctx(), machine))
	// The next backup is relative to what the disks were filled from.
	r.write("disk1", 7*block, 3)
	h = r.begin(base, restored)
	r.expectParent(h, restored)
	r.verify(h)
	if n := r.dirtyBytes(h, "disk0"); n != 0 {
		r.Errorf("%d bytes are to be read of a disk that is as it was restored", n)
	}
	r.end(h, compute.Committed)
	next := r.begin(h.Point)
	r.expectParent(next, h.Point)
	r.verifyAndEnd(next)
}

func goesBack(r *rig) {
	r.running()
	r.write("disk0", 0, 1)
	base := r.round()
	r.write("disk0", 5*block, 2)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	before := map[string][]byte{}
	for name, content := range r.now {
		before[name] = slices.Clone(content)
	}
	holds := r.prepare()
	r.ready(holds)
	r.switchTo("2", holds)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk0", 5*block, 3)
	during := r.round()
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.switchTo("1", before)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk1", 9*block, 4)
	// The newest backup is of other disks; their bitmap names the right one.
	h := r.begin(during, restored, base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
	r.expectGenerations("1", "2")
}

func snapshotsGoBack(r *rig) {
	r.running()
	r.write("disk0", 0, 1)
	r.snapshot("a")
	r.write("disk0", 3*block, 2)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	before := map[string][]byte{}
	for name, content := range r.now {
		before[name] = slices.Clone(content)
	}
	first := r.now
	holds := r.prepare()
	r.ready(holds)
	r.switchTo(second, holds)
	r.expectSnapshots()
	// Aside it is all that it was, not only what its disks began with.
	source, err := r.regenerator().OpenGeneration(r.ctx(), machine, compute.FirstGeneration, "disk0")
	r.must(err)
	p := make([]byte, diskSize)
	if _, err := source.ReadAt(p, 0); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(p, first["disk0"]) {
		r.Errorf("disk0 of the former generation differs in block %d, %v", firstDifference(p, first["disk0"]), err)
	}
	r.must(source.Close())
	r.must(r.host.Start(r.ctx(), machine))
	r.snapshot("b")
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.switchTo(compute.FirstGeneration, before)
	r.expectSnapshots("a")
	r.intact()
	r.rollback("a")
	r.must(r.host.Start(r.ctx(), machine))
	r.intact()
	r.must(r.regenerator().Drop(r.ctx(), machine, second))
	r.expectSnapshots("a")
}

func otherDisks(r *rig) {
	r.running()
	disks := []compute.Disk{{Name: "disk0", SizeBytes: 2 * diskSize}, {Name: "disk1", SizeBytes: diskSize}, {Name: "data", SizeBytes: 4 * block}}
	holds := r.prepare(disks...)
	// Filled from a backup that ended where disk0 did before.
	r.ready(holds)
	r.points[restored]["disk0"] = holds["disk0"][:diskSize]
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.switchTo("2", holds)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("data", 3*block, 1)
	r.write("disk0", diskSize+block, 2)
	h := r.begin(restored)
	r.expectParent(h, restored)
	r.verifyAndEnd(h)
	if found := r.expectGenerations("2", "1"); !slices.Equal(found[0].Disks, disks) || len(found[1].Disks) != len(diskNames) {
		r.Errorf("got %+v", found)
	}
}

func switchesUnderPoint(r *rig) {
	r.running()
	base := r.round()
	r.write("disk0", 0, 1)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	before := r.now
	holds := r.prepare()
	r.ready(holds)
	h := r.begin(base)
	r.switchTo("2", holds)
	r.expectLost(h)
	r.end(h, compute.Abandoned)
	r.verifyAndEnd(r.begin())
	// Of the former disks nothing that was written is forgotten.
	r.switchTo("1", before)
	r.must(r.host.Start(r.ctx(), machine))
	r.write("disk0", 4*block, 2)
	h = r.begin(base)
	r.expectParent(h, base)
	r.verifyAndEnd(h)
}

func regenerateRefused(r *rig) {
	const unknown = "01jtest0000000000000absent"
	one := []compute.Disk{{Name: "disk0", SizeBytes: diskSize}}
	g := r.regenerator()
	_, err := g.Generations(r.ctx(), unknown)
	r.is(err, compute.ErrNotFound)
	r.is(g.Prepare(r.ctx(), unknown, "2", one), compute.ErrNotFound)
	r.is(g.Switch(r.ctx(), unknown, "2"), compute.ErrNotFound)
	r.is(g.Drop(r.ctx(), unknown, "2"), compute.ErrNotFound)
	left, err := r.Leftovers(unknown, false)
	r.must(err)
	if len(left) > 0 {
		r.Errorf("asking about an unknown machine made %v", left)
	}
	r.define()
	g = r.regenerator()
	if room, err := g.Room(r.ctx(), machine); err != nil || room <= 0 {
		r.Errorf("room for %d bytes, %v", room, err)
	}
	// What names files comes from the control plane.
	for _, name := range []string{"", "../2", "A", "a.b", "a-b", "012345678901234567890123456789012"} {
		if err := g.Prepare(r.ctx(), machine, name, one); err == nil {
			r.Errorf("a generation has the name %q", name)
		}
	}
	for _, disks := range [][]compute.Disk{nil, {{Name: "../disk0", SizeBytes: diskSize}}, {one[0], one[0]}, {{Name: "disk0"}}} {
		if err := g.Prepare(r.ctx(), machine, second, disks); err == nil {
			r.Errorf("a generation has the disks %+v", disks)
		}
	}
	r.expectGenerations("1")
	_, err = g.FillGeneration(r.ctx(), machine, second, "disk0")
	r.is(err, compute.ErrNoGeneration)
	_, err = g.OpenGeneration(r.ctx(), machine, second, "disk0")
	r.is(err, compute.ErrNoGeneration)
	r.is(g.Ready(r.ctx(), machine, second, nil), compute.ErrNoGeneration)
	r.is(g.Switch(r.ctx(), machine, second), compute.ErrNoGeneration)
	r.must(g.Prepare(r.ctx(), machine, second, one))
	r.is(g.Prepare(r.ctx(), machine, second, []compute.Disk{{Name: "disk0", SizeBytes: 2 * diskSize}}), compute.ErrState)
	r.is(g.Prepare(r.ctx(), machine, "1", one), compute.ErrState)
	_, err = g.FillGeneration(r.ctx(), machine, second, "disk1")
	r.is(err, compute.ErrNoGeneration)
	_, err = g.FillGeneration(r.ctx(), machine, "1", "disk0")
	r.is(err, compute.ErrState)
	_, err = g.OpenGeneration(r.ctx(), machine, "1", "disk0")
	r.is(err, compute.ErrState)
	r.is(g.Switch(r.ctx(), machine, second), compute.ErrState)
	r.must(g.Ready(r.ctx(), machine, second, nil))
	_, err = g.FillGeneration(r.ctx(), machine, second, "disk0")
	r.is(err, compute.ErrState)
	r.must(r.host.Start(r.ctx(), machine))
	r.is(g.Switch(r.ctx(), machine, second), compute.ErrState)
	r.is(g.Drop(r.ctx(), machine, "1"), compute.ErrState)
	r.verifyAndEnd(r.begin())
}

func fillGenerationAgain(r *rig) {
	r.define()
	r.must(r.regenerator().Prepare(r.ctx(), machine, second, r.definition(machine).Disks))
	want := make([]byte, diskSize)
	former, err := r.regenerator().FillGeneration(r.ctx(), machine, second, "disk0")
	r.must(err)
	_, err = former.WriteAt([]byte("of the former"), 2*block)
	r.must(err)
	copy(want[2*block:], "of the former")
	r.must(former.Sync(r.ctx()))

	r.restart()
	r.fillDisk("disk0", []byte("of the latter"), 3*block)
	copy(want[3*block:], "of the latter")
	if _, err := former.WriteAt([]byte("too late"), 2*block); err == nil {
		r.Fatal("two sinks write to one disk")
	}
	// Closing the former may fail, it has been ended; it must only not hurt.
	if err := former.Close(); err != nil {
		r.Logf("close of the former sink: %v", err)
	}
	r.expectAside("disk0", want)
	last, err := r.regenerator().FillGeneration(r.ctx(), machine, second, "disk0")
	r.must(err)
	r.must(r.regenerator().Ready(r.ctx(), machine, second, nil))
	if _, err := last.WriteAt([]byte("too late"), 2*block); err == nil {
		r.Fatal("a generation that is ready is written to")
	}
	if err := last.Close(); err != nil {
		r.Logf("close of the last sink: %v", err)
	}
	r.expectAside("disk0", want)
}

func drops(r *rig) {
	r.running()
	r.prepare()
	sink, err := r.regenerator().FillGeneration(r.ctx(), machine, second, "disk0")
	r.must(err)
	for range 2 {
		r.must(r.regenerator().Drop(r.ctx(), machine, second))
		r.restart()
	}
	if _, err := sink.WriteAt([]byte("too late"), 0); err == nil {
		r.Fatal("a generation that is dropped is written to")
	}
	if err := sink.Close(); err != nil {
		r.Logf("close of its sink: %v", err)
	}
	r.expectGenerations("1")
	// The name is free again, and so is the former one after a switch.
	holds := r.prepare()
	r.ready(holds)
	r.must(r.host.Stop(r.ctx(), machine, 0))
	r.switchTo("2", holds)
	for range 2 {
		r.must(r.regenerator().Drop(r.ctx(), machine, "1"))
	}
	r.expectGenerations("2")
	r.must(r.host.Start(r.ctx(), machine))
	r.verifyAndEnd(r.begin())
}

func deletesGenerations(r *rig) {
	r.running()
	r.prepare()
	if _, err := r.regenerator().FillGeneration(r.ctx(), machine, second, "disk0"); err != nil {
		r.Fatal(err)
	}
	r.must(r.host.Delete(r.ctx(), machine))
	r.nothingLeft(false)
}
