package service

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"holdfast/internal/vmtest"
)

// VerifyLog writes both log disks of a backup with nothing but the vault and
// the recovery kit, and returns the last entry of the guest's log, which must
// be an exact prefix at one instant.
func (s *Service) VerifyLog(t *testing.T, a Account, backup string) uint64 {
	t.Helper()
	dir := t.TempDir()
	kit := filepath.Join(dir, "kit.txt")
	if err := os.WriteFile(kit, s.Run(t, "admin", "account", "kit", a.ID), 0o600); err != nil {
		t.Fatal(err)
	}
	var disks []io.ReaderAt
	for _, name := range []string{"disk1", "disk2"} {
		raw := filepath.Join(dir, name+".raw")
		s.Alone(t, "recover", "--vault", filepath.Join(s.Site(), a.ID), "--kit", kit, "--backup", backup, "--disk", name, "--output", raw)
		f, err := os.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		disks = append(disks, f)
	}
	r, err := vmtest.VerifyLog(disks...)
	if err != nil {
		t.Fatalf("backup %s: %v", backup, err)
	}
	return r.Max()
}
