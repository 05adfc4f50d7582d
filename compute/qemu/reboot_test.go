//go:build vm

package qemu

import (
	"os"
	"syscall"
	"testing"

	"holdfast/compute"
)

// TestHostReboot: the host dies with everything on it, and its next boot gives
// numbers of old processes to others. The machine starts, no other process is
// touched, and tracking that was not saved is not used.
func TestHostReboot(t *testing.T) {
	cfg := testConfig(t)
	d := open(t, cfg)
	m := machine(4 * mib)
	define(t, d, m, true)
	now := make(model, 4*mib)
	now.write(t, d, m.ID, "disk0", 1, 0, mib)
	end(t, d, begin(t, d, m, "01base.1"), compute.Committed)
	h := begin(t, d, m, "01open.1", "01base.1") // its point goes down with the host
	now.write(t, d, m.ID, "disk0", 2, 2*mib, granule)
	guest(t, d, m.ID, "disk0", "flush") // what was not flushed may go down, too
	p, alive, err := d.running(m.ID)
	if err != nil || !alive {
		t.Fatal(p, err)
	}
	if err := p.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What was a process of the last boot has a number that is ours now.
	former := process{PID: os.Getpid(), Ticks: 4711, Boot: "00000000-0000-0000-0000-000000000000"}
	if mine, ok := identify(os.Getpid()); ok {
		former.Ticks = mine.Ticks
	}
	if err := writeJSON(d.file(m.ID, recordQEMU), former); err != nil {
		t.Fatal(err)
	}
	d = open(t, cfg) // the service of the new boot
	st, err := d.Inspect(t.Context(), m.ID)
	if err != nil || st.Power != compute.Stopped || st.PoweredOff || st.PID != 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := d.Start(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	statusIs(t, d, m.ID, compute.Running)
	if err := syscall.Kill(os.Getpid(), 0); err != nil {
		t.Fatal(err)
	}
	end(t, d, h, compute.Abandoned)
	h = begin(t, d, m, "01next.1", "01base.1")
	if h.Disks[0].Parent != "" || h.Disks[0].ParentLost == "" {
		t.Errorf("%+v", h.Disks)
	}
	var im image
	im.update(t, d, h, 0)
	if string(im.data) != string(now) {
		t.Errorf("the image differs at %d", firstDifference(im.data, now))
	}
	end(t, d, h, compute.Committed)
	if err := d.Delete(t.Context(), m.ID); err != nil {
		t.Error(err)
	}
	noTraces(t, cfg)
}
