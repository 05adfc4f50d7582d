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
	places := []string{s.setting("host.run", s.in("run")), s.setting("host.scratch", s.in("scratch")), s.machines()}
	if s.setting("host.driver", "qemu") == "sim" {
		places = []string{filepath.Join(s.machines(), "machines")} // beside the simulator's own
	}
	for _, dir := range places {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
		}
	}
}
