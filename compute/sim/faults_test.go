package sim_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/disk"
)

const block = 64 << 10

// machine is a running machine with one disk and a committed point "base".
func machine(t *testing.T) (*sim.Host, *harness) {
	t.Helper()
	h := &harness{dir: t.TempDir()}
	if _, err := h.Open(); err != nil {
		t.Fatal(err)
	}
	host := h.host
	must(t, host.Define(t.Context(), compute.Machine{ID: "m", Disks: []compute.Disk{{Name: "disk0", SizeBytes: 1 << 20}}}))
	must(t, host.Start(t.Context(), "m"))
	handle, err := begin(t, host, "base")
	must(t, err)
	must(t, host.End(t.Context(), handle, compute.Committed))
	must(t, host.WriteDisk("m", "disk0", []byte("since the base"), 0))
	return host, h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func begin(t *testing.T, host *sim.Host, point compute.Point, parents ...compute.Point) (compute.Handle, error) {
	t.Helper()
	return host.Begin(t.Context(), compute.PointRequest{Machine: "m", Point: point, Parents: parents},
		func(compute.Handle) error { return nil })
}

func open(t *testing.T, host *sim.Host, handle compute.Handle) disk.Source {
	t.Helper()
	source, err := host.Open(t.Context(), handle, "disk0")
	must(t, err)
	t.Cleanup(func() { must(t, source.Close()) })
	return source
}

func TestFailBeginLeavesNothing(t *testing.T) {
	host, h := machine(t)
	for step := 1; step <= sim.BeginSteps; step++ {
		host.Inject(sim.Faults{FailBegin: step})
		if _, err := begin(t, host, "second", "base"); !errors.Is(err, sim.ErrInjected) {
			t.Fatalf("step %d: %v", step, err)
		}
		left, err := h.Leftovers("m", true)
		if err != nil || len(left) > 0 {
			t.Fatalf("step %d left %v, %v", step, left, err)
		}
		host.Inject(sim.Faults{})
		handle, err := begin(t, host, "third", "base")
		if err != nil || handle.Disks[0].Parent != "base" {
			t.Fatalf("after step %d: %+v, %v", step, handle, err)
		}
		must(t, host.End(t.Context(), handle, compute.Abandoned))
	}
}

func TestLoseAfterReads(t *testing.T) {
	host, _ := machine(t)
	handle, err := begin(t, host, "second")
	must(t, err)
	source := open(t, host, handle)
	host.Inject(sim.Faults{LoseAfterReads: 3})
	for n := 1; n <= 4; n++ {
		_, err := source.ReadAt(make([]byte, 10), 0)
		if lost := errors.Is(err, compute.ErrPointLost); lost != (n >= 3) {
			t.Fatalf("read %d: %v", n, err)
		}
	}
	for _, err := range source.Extents(t.Context()) {
		if !errors.Is(err, compute.ErrPointLost) {
			t.Errorf("extents: %v", err)
		}
	}
	if err := host.WriteDisk("m", "disk0", []byte("x"), 0); err != nil {
		t.Errorf("the guest noticed: %v", err)
	}
}

func TestScratchExhausted(t *testing.T) {
	host, _ := machine(t)
	handle, err := begin(t, host, "second")
	must(t, err)
	source := open(t, host, handle)
	host.Inject(sim.Faults{ScratchBytes: 2 * block})
	for n := int64(1); n <= 3; n++ {
		must(t, host.WriteDisk("m", "disk0", make([]byte, block), 0))
		_, err := source.ReadAt(make([]byte, 10), 0)
		exhausted := errors.Is(err, compute.ErrScratchExhausted) && errors.Is(err, compute.ErrPointLost)
		if exhausted != (n > 2) {
			t.Fatalf("after %d blocks: %v", n, err)
		}
	}
	if err := host.Recover(t.Context(), handle); !errors.Is(err, compute.ErrScratchExhausted) {
		t.Errorf("recover: %v", err)
	}
}

func TestNoSpaceToFill(t *testing.T) {
	host, _ := machine(t)
	must(t, host.Stop(t.Context(), "m", 0))
	host.Inject(sim.Faults{SpaceBytes: block})
	sink, err := host.Fill(t.Context(), "m", "disk0")
	must(t, err)
	if _, err := sink.WriteAt(make([]byte, block), 0); err != nil {
		t.Errorf("within the space: %v", err)
	}
	if _, err := sink.WriteAt(make([]byte, 1), block); !errors.Is(err, compute.ErrNoSpace) {
		t.Errorf("behind it: %v", err)
	}
	must(t, sink.Close())
	must(t, host.Delete(t.Context(), "m"))
}

func TestLoseTracking(t *testing.T) {
	host, _ := machine(t)
	must(t, host.LoseTracking("m"))
	handle, err := begin(t, host, "second", "base")
	must(t, err)
	if d := handle.Disks[0]; d.Parent != "" || d.ParentLost == "" {
		t.Fatalf("got %+v", d)
	}
	for e, err := range open(t, host, handle).Extents(t.Context()) {
		if err != nil || e.Clean {
			t.Errorf("extent %+v, %v", e, err)
		}
	}
}

func TestSlowReadsAndDeafGuests(t *testing.T) {
	host, _ := machine(t)
	handle, err := begin(t, host, "second")
	must(t, err)
	source := open(t, host, handle)
	const delay = 30 * time.Millisecond
	host.Inject(sim.Faults{ReadDelay: delay, DeafGuest: true})
	began := time.Now()
	_, err = source.ReadAt(make([]byte, 10), 0)
	must(t, err)
	must(t, host.Stop(t.Context(), "m", delay))
	if took := time.Since(began); took < 2*delay {
		t.Errorf("took %v", took)
	}
}

func TestCallFault(t *testing.T) {
	host, _ := machine(t)
	refused := errors.New("refused")
	var asked []string
	host.Inject(sim.Faults{Call: func(name, machine string) error {
		asked = append(asked, name+" "+machine)
		return refused
	}})
	if err := host.Stop(t.Context(), "m", 0); !errors.Is(err, refused) {
		t.Errorf("stop: %v", err)
	}
	if _, err := begin(t, host, "second"); !errors.Is(err, refused) {
		t.Errorf("begin: %v", err)
	}
	if strings.Join(asked, ",") != "stop m,begin m" {
		t.Errorf("asked %v", asked)
	}
}

// A control plane that was taken over must not reach other files of the host.
func TestHostileNamesAreRefused(t *testing.T) {
	host, _ := machine(t)
	one := []compute.Disk{{Name: "disk0", SizeBytes: 1}}
	for _, m := range []compute.Machine{
		{ID: "", Disks: one},
		{ID: "..", Disks: one},
		{ID: "../m", Disks: one},
		{ID: strings.Repeat("m", 65), Disks: one},
		{ID: "x", Disks: []compute.Disk{{Name: "../state", SizeBytes: 1}}},
		{ID: "x", Disks: []compute.Disk{{Name: "a", SizeBytes: 1}, {Name: "a", SizeBytes: 1}}},
		{ID: "x", Disks: []compute.Disk{{Name: "a", SizeBytes: -1}}},
		{ID: "x", Disks: []compute.Disk{{Name: "a", SizeBytes: 1, Image: "/etc/passwd"}}},
	} {
		if err := host.Define(t.Context(), m); err == nil {
			t.Errorf("%+v was defined", m)
		}
	}
	if _, err := begin(t, host, "../../m"); err == nil {
		t.Error("a point outside the machine was taken")
	}
	handle, err := begin(t, host, "second")
	must(t, err)
	evil := handle
	evil.Point = "../.."
	if err := host.End(t.Context(), evil, compute.Abandoned); err == nil {
		t.Error("a handle with a path for a point was ended")
	}
	evil = handle
	evil.Disks = []compute.HandleDisk{{Name: "../../state"}}
	if _, err := host.Open(t.Context(), evil, "../../state"); err == nil {
		t.Error("a file outside the point was opened")
	}
	if _, err := host.Inspect(t.Context(), "m"); err != nil {
		t.Errorf("the machine suffered: %v", err)
	}
}

func TestImageIsTheBeginningOfADisk(t *testing.T) {
	host, h := machine(t)
	image := filepath.Join(h.dir, "machines", "m", "gen-1", "disk0.raw")
	want := make([]byte, 14)
	must(t, host.ReadDisk("m", "disk0", want, 0))
	must(t, host.Define(t.Context(), compute.Machine{ID: "copy", Disks: []compute.Disk{
		{Name: "disk0", SizeBytes: 2 << 20, Image: image, ImageFormat: "raw"},
	}}))
	got := make([]byte, 14)
	must(t, host.ReadDisk("copy", "disk0", got, 0))
	if !bytes.Equal(got, want) || string(got) != "since the base" {
		t.Errorf("got %q, want %q", got, want)
	}
	small := compute.Machine{ID: "small", Disks: []compute.Disk{{Name: "disk0", SizeBytes: 4096, Image: image, ImageFormat: "raw"}}}
	if err := host.Define(t.Context(), small); err == nil {
		t.Error("an image larger than its disk was cut")
	}
	machines, err := host.Machines(t.Context())
	if err != nil || strings.Join(machines, ",") != "copy,m" {
		t.Errorf("machines %v, %v", machines, err)
	}
}
