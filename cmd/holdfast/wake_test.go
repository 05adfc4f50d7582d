package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute/sim"
	"holdfast/test/service"
)

// TestHostComesUp: all of the host dies at once. Afterwards those VPSs run that
// ran, or that only lost their hypervisor, and no other.
func TestHostComesUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sim")
	s := service.New(t, service.Set("host.driver", "sim"), service.Set("host.machines", dir))
	image := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	a := s.NewAccount(t, "acme")
	s.Run(t, "admin", "image", "import", "--name", "i", "--disk", image, "--format", "raw")
	vps := func(name string) string { return s.NewVPS(t, a.ID, "i", name, true) }
	host, err := sim.Open(dir)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(err)
	// Those that the service has seen going down.
	crashed, off, stopped := vps("crashed"), vps("off"), vps("stopped")
	ok(host.Kill(crashed))
	ok(host.PowerOff(t.Context(), off))
	s.Run(t, "admin", "vps", "stop", stopped, "--force", "--wait")
	ran := vps("ran")
	states(t, s, map[string]holdfast.PowerState{crashed: "stopped", off: "stopped", stopped: "stopped", ran: "running"})
	// And those that nobody has.
	unseen := vps("unseen")
	s.Kill(t)
	ok(host.PowerOff(t.Context(), unseen))
	ok(host.Kill(ran))
	s.Start(t)
	states(t, s, map[string]holdfast.PowerState{crashed: "running", off: "stopped", stopped: "stopped", ran: "running", unseen: "stopped"})
}

// states waits until the VPSs are seen to be so.
func states(t *testing.T, s *service.Service, want map[string]holdfast.PowerState) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		differ := ""
		for _, m := range s.Machines(t) {
			if m.PowerState != string(want[m.ID]) {
				differ = m.ID + " is " + m.PowerState + ", not " + string(want[m.ID])
			}
		}
		if differ == "" {
			return
		}
		select {
		case <-tick.C: // nothing tells of what a machine is seen doing
		case <-ctx.Done():
			t.Fatal(differ)
		}
	}
}
