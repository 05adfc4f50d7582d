package service

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"holdfast/internal/vmtest"
)

// end deletes what the test made and proves that nothing is left. A test that
// failed may have left the service in any state: then what is left is killed.
func (s *Service) end(t testing.TB) {
	t.Helper()
	defer s.reap(t)
	if t.Failed() {
		t.Logf("the service's log:\n%s", s.Log(t))
	}
	s.Environ() // no fault may end the cleaning up
	if s.Ended() {
		s.Start(t)
	}
	for _, v := range s.Machines(t) {
		if v.ServiceStatus != "terminated" {
			s.Run(t, "admin", "vps", "delete", v.ID, "--wait")
		}
	}
	s.Stop(t)
	if err := s.log.Close(); err != nil {
		t.Error(err)
	}
	vmtest.NoStrays(t, s.Dir)
	s.NoRemains(t)
}

// reap kills the processes of this service that are left, its own among them:
// their command lines name the directory that only this test has. In a test
// that passes there are none.
func (s *Service) reap(t testing.TB) {
	t.Helper()
	left, err := vmtest.Strays(s.Dir)
	if err != nil {
		t.Error(err)
	}
	for _, p := range left {
		t.Errorf("killed what was left: %s", p)
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
	if len(left) > 0 {
		vmtest.NoStrays(t, s.Dir)
	}
}

// NoRemains fails the test when sockets, scratch or machines are left where
// there should be none any more.
func (s *Service) NoRemains(t testing.TB) {
	t.Helper()
	for _, name := range []string{"run", "scratch", "machines"} {
		dir := s.place("host."+name, name)
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
		}
	}
}

// place is the directory of a setting, which lies in the data directory under
// name when the test has not set it.
func (s *Service) place(setting, name string) string {
	dir := filepath.Join(s.Dir, name)
	for i, a := range s.settings {
		if value, ok := cutSetting(a, setting); ok && s.settings[i-1] == "--set" {
			dir = value
		}
	}
	return dir
}

// Site is where the vaults lie.
func (s *Service) Site() string { return s.place("site", "vault") }

// DiskFile is the file of a disk of a VPS, to look at or to write while the VPS
// is stopped.
func (s *Service) DiskFile(vps, disk string) string {
	return filepath.Join(s.place("host.machines", "machines"), vps, "current", disk+".qcow2")
}

// Hypervisor is the process that runs a VPS.
func (s *Service) Hypervisor(t testing.TB, vps string) int {
	t.Helper()
	found, err := vmtest.Strays("guest=" + vps)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Fatalf("VPS %s is run by %v", vps, found)
	}
	return found[0].PID
}

// KillHypervisor ends the process that runs a VPS by SIGKILL, as a crash does.
func (s *Service) KillHypervisor(t testing.TB, vps string) {
	t.Helper()
	pid := s.Hypervisor(t, vps)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	vmtest.NoStrays(t, "guest="+vps)
}
