package service

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/vmtest"
)

// setting is the value of a setting that the test has given, or else fallback.
func (s *Service) setting(name, fallback string) string {
	for i, a := range s.settings {
		if value, ok := strings.CutPrefix(a, name+"="); ok && s.settings[i-1] == "--set" {
			fallback = value
		}
	}
	return fallback
}

// in is a path in the data directory.
func (s *Service) in(name string) string { return filepath.Join(s.Dir, name) }

func (s *Service) machines() string { return s.setting("host.machines", s.in("machines")) }

// Site is where the vaults lie.
func (s *Service) Site() string { return s.setting("site", s.in("vault")) }

// DiskFile is the file of a disk of a VPS, to look at or to write while the VPS
// is stopped.
func (s *Service) DiskFile(vps, disk string) string {
	return filepath.Join(s.machines(), vps, "current", disk+".qcow2")
}

// Hypervisor is the process that runs a VPS.
func (s *Service) Hypervisor(t testing.TB, vps string) vmtest.Process {
	t.Helper()
	found, err := vmtest.Strays("guest=" + vps)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Fatalf("VPS %s is run by %v", vps, found)
	}
	return found[0]
}

// KillHypervisor ends the process that runs a VPS by SIGKILL, as a crash does.
func (s *Service) KillHypervisor(t testing.TB, vps string) {
	t.Helper()
	pid := s.Hypervisor(t, vps).PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	vmtest.NoStrays(t, "guest="+vps)
}
