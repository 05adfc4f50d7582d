package computetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/disk"
)

const (
	machine  = "01jtest0000000000000machin"
	diskSize = 2 << 20
	block    = 64 << 10
	// patience bounds each call: nothing here is large.
	patience = time.Minute
)

var diskNames = []string{"disk0", "disk1"}

// rig is a host with a model of what its machine's disks must hold.
type rig struct {
	*testing.T
	Harness
	host Host
	// now is the content of each disk.
	now map[string][]byte
	// points remembers the content at each point in time.
	points  map[compute.Point]map[string][]byte
	attempt int
	size    int64 // of each disk
}

func newRig(t *testing.T, h Harness) *rig {
	r := &rig{T: t, Harness: h, points: map[compute.Point]map[string][]byte{}, size: diskSize}
	r.restart()
	return r
}

// ctx is a context for one call.
func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	r.Cleanup(cancel)
	return ctx
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// is fails the test unless err is the sentinel.
func (r *rig) is(err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("got error %v, want %v", err, want)
	}
}

// restart is a service that was killed and started again.
func (r *rig) restart() {
	r.Helper()
	host, err := r.Open()
	r.must(err)
	r.host = host
}

// definition is a machine with two disks of zeros.
func (r *rig) definition(id string) compute.Machine {
	m := compute.Machine{ID: id, Hostname: "test", CPUs: 1, MemoryMiB: 64}
	m.NIC = compute.NIC{MAC: "52:54:00:00:00:01", Network: "user"}
	for _, name := range diskNames {
		m.Disks = append(m.Disks, compute.Disk{Name: name, SizeBytes: r.size})
	}
	return r.Machine(m)
}

// define makes the machine, stopped; its disks hold some data.
func (r *rig) define() {
	r.Helper()
	r.must(r.host.Define(r.ctx(), r.definition(machine)))
	r.Cleanup(func() {
		if err := r.host.Delete(context.WithoutCancel(r.Context()), machine); err != nil {
			r.Errorf("delete: %v", err)
		}
	})
	r.now = map[string][]byte{}
	for i, name := range diskNames {
		r.now[name] = make([]byte, r.size)
		sink, err := r.host.Fill(r.ctx(), machine, name)
		r.must(err)
		data := bytes.Repeat([]byte{byte(0xa0 + i)}, block)
		_, err = sink.WriteAt(data, block)
		r.must(err)
		copy(r.now[name][block:], data)
		r.must(sink.Sync(r.ctx()))
		r.must(sink.Close())
	}
}

// running makes the machine and starts it.
func (r *rig) running() {
	r.Helper()
	r.define()
	r.must(r.host.Start(r.ctx(), machine))
}

// write is the guest writing one block.
func (r *rig) write(name string, at int64, pattern byte) {
	r.Helper()
	r.must(r.Write(machine, name, at, block, pattern))
	copy(r.now[name][at:], bytes.Repeat([]byte{pattern}, block))
}

// point is a new point's name.
func (r *rig) point() compute.Point {
	r.attempt++
	return compute.Point(fmt.Sprintf("01jtest000000000000000bckp.%d", r.attempt))
}

// begin takes a point in time of what the disks hold now.
func (r *rig) begin(parents ...compute.Point) compute.Handle {
	r.Helper()
	point := r.point()
	state, err := r.host.Inspect(r.ctx(), machine)
	r.must(err)
	var saved []compute.Handle
	handle, err := r.host.Begin(r.ctx(), compute.PointRequest{Machine: machine, Point: point, Parents: parents},
		func(h compute.Handle) error {
			saved = append(saved, h)
			return nil
		})
	r.must(err)
	if len(saved) == 0 {
		r.Fatal("Begin saved no handle")
	}
	if handle.Machine != machine || handle.Point != point || len(handle.Disks) != len(r.now) {
		r.Fatalf("handle %+v is not of what was asked for", handle)
	}
	// A guest that ran was frozen, or there is a reason; any other was neither.
	if ran := state.Power == compute.Running; (handle.Frozen || handle.NotFrozen != "") != ran || handle.Frozen && handle.NotFrozen != "" {
		r.Fatalf("the machine is %s; frozen: %v, why not: %q", state.Power, handle.Frozen, handle.NotFrozen)
	}
	r.remember(point)
	return handle
}

func (r *rig) remember(point compute.Point) {
	content := map[string][]byte{}
	for name, bytes := range r.now {
		content[name] = slices.Clone(bytes)
	}
	r.points[point] = content
}

// end ends a point in time, and finds nothing of it left.
func (r *rig) end(h compute.Handle, outcome compute.Outcome) {
	r.Helper()
	r.must(r.host.End(r.ctx(), h, outcome))
	r.nothingLeft(true)
}

func (r *rig) nothingLeft(pointsOnly bool) {
	r.Helper()
	left, err := r.Leftovers(machine, pointsOnly)
	r.must(err)
	if len(left) > 0 {
		r.Fatalf("left behind: %v", left)
	}
}

// round is a full backup from begin to commit.
func (r *rig) round() compute.Point {
	r.Helper()
	h := r.begin()
	r.verify(h)
	r.end(h, compute.Committed)
	return h.Point
}

// verify reads all disks of a point, and checks each byte and each extent.
func (r *rig) verify(h compute.Handle) {
	r.Helper()
	for _, d := range h.Disks {
		r.verifyDisk(h, d)
	}
	r.must(r.host.Recover(r.ctx(), h))
}

func (r *rig) verifyDisk(h compute.Handle, d compute.HandleDisk) {
	r.Helper()
	source, err := r.host.Open(r.ctx(), h, d.Name)
	r.must(err)
	want := r.points[h.Point][d.Name]
	size := int64(len(want))
	if d.SizeBytes != size || source.Size() != size {
		r.Fatalf("%s: %d bytes in the handle, %d open, want %d", d.Name, d.SizeBytes, source.Size(), size)
	}
	got := make([]byte, size)
	if n, err := source.ReadAt(got, 0); n != len(got) || (err != nil && !errors.Is(err, io.EOF)) {
		r.Fatalf("%s: read %d bytes: %v", d.Name, n, err)
	}
	if !bytes.Equal(got, want) {
		r.Fatalf("%s: not the bytes of the point in time: first difference in block %d", d.Name, firstDifference(got, want))
	}
	next, clean := int64(0), int64(0)
	for e, err := range source.Extents(r.ctx()) {
		r.must(err)
		if e.Offset != next || e.Length <= 0 {
			r.Fatalf("%s: extent %+v follows offset %d", d.Name, e, next)
		}
		next = e.End()
		r.verifyExtent(d, e, want)
		if e.Clean {
			clean += e.Length
		}
	}
	if next != size {
		r.Fatalf("%s: extents end at %d of %d", d.Name, next, size)
	}
	if d.Parent != "" && clean == 0 && bytes.Equal(want, r.points[d.Parent][d.Name]) {
		r.Errorf("%s: nothing is called clean, and nothing has changed", d.Name)
	}
	r.must(source.Close())
}

func (r *rig) verifyExtent(d compute.HandleDisk, e disk.Extent, want []byte) {
	r.Helper()
	part := want[e.Offset:e.End()]
	if e.Zero && len(bytes.Trim(part, "\x00")) > 0 {
		r.Fatalf("%s: extent %+v is called zero and is not", d.Name, e)
	}
	if !e.Clean {
		return
	}
	parent, known := r.points[d.Parent]
	if d.Parent == "" || !known {
		r.Fatalf("%s: extent %+v is clean relative to parent %q", d.Name, e, d.Parent)
	}
	was := make([]byte, len(want)) // zeros where the disk ended then
	copy(was, parent[d.Name])
	if !bytes.Equal(part, was[e.Offset:e.End()]) {
		r.Fatalf("%s: extent %+v is called clean and has changed since %s", d.Name, e, d.Parent)
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i / block
		}
	}
	return -1
}

// expectParent checks what every disk of a point is relative to; "" wants a
// reason too.
func (r *rig) expectParent(h compute.Handle, want compute.Point) {
	r.Helper()
	for _, d := range h.Disks {
		if d.Parent != want {
			r.Fatalf("%s: parent %q (lost: %q), want %q", d.Name, d.Parent, d.ParentLost, want)
		}
		if want == "" && d.ParentLost == "" {
			r.Fatalf("%s: the parent is lost without a reason", d.Name)
		}
	}
}

// dirtyBytes is how much of a disk has to be read in an incremental backup.
func (r *rig) dirtyBytes(h compute.Handle, name string) int64 {
	r.Helper()
	source, err := r.host.Open(r.ctx(), h, name)
	r.must(err)
	var dirty int64
	for e, err := range source.Extents(r.ctx()) {
		r.must(err)
		if !e.Clean {
			dirty += e.Length
		}
	}
	r.must(source.Close())
	return dirty
}

// expectPower checks a machine's power state.
func (r *rig) expectPower(want compute.PowerState) {
	r.Helper()
	s, err := r.host.Inspect(r.ctx(), machine)
	r.must(err)
	if s.Power != want {
		r.Fatalf("the machine is %s, want %s", s.Power, want)
	}
	if want != compute.Stopped && s.Started.IsZero() {
		r.Fatalf("a machine that is %s does not say since when", want)
	}
}

// reader opens the first disk of a point, to see what it reads after a loss.
func (r *rig) reader(h compute.Handle) disk.Source {
	r.Helper()
	source, err := r.host.Open(r.ctx(), h, diskNames[0])
	r.must(err)
	_, err = source.ReadAt(make([]byte, block), 0)
	r.must(err)
	return source
}

// expectLostTo checks that who has a disk of a lost point open learns of it.
func (r *rig) expectLostTo(source disk.Source) {
	r.Helper()
	_, err := source.ReadAt(make([]byte, block), block)
	r.is(err, compute.ErrPointLost)
	for _, err := range source.Extents(r.ctx()) {
		if err != nil { // what was learned before the loss may still be told
			r.is(err, compute.ErrPointLost)
		}
	}
	// What it was connected to is gone, so closing may fail; it must return.
	if err := source.Close(); err != nil {
		r.Logf("close after the loss: %v", err)
	}
}

// expectLost checks that nobody takes a lost point for a whole one.
func (r *rig) expectLost(h compute.Handle) {
	r.Helper()
	r.is(r.host.Recover(r.ctx(), h), compute.ErrPointLost)
	source, err := r.host.Open(r.ctx(), h, diskNames[0])
	if err != nil {
		r.is(err, compute.ErrPointLost)
		return
	}
	_, err = source.ReadAt(make([]byte, block), 0)
	r.is(err, compute.ErrPointLost)
	r.must(source.Close())
}
