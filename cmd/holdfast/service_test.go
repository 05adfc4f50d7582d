package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/test/service"
)

// newService is a service over the simulated hypervisor, with a running VPS
// whose disk is noise; its content is returned.
func newService(t *testing.T, options ...service.Option) (s *service.Service, a service.Account, vps string, content []byte) {
	t.Helper()
	s = service.New(t, append([]service.Option{service.Set("host.driver", "sim"), service.Set("host.machines", filepath.Join(t.TempDir(), "sim"))}, options...)...)
	content = make([]byte, 6<<20)
	r := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // noise
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	image := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(image, content, 0o600); err != nil {
		t.Fatal(err)
	}
	a = s.NewAccount(t, "acme")
	s.Run(t, "admin", "image", "import", "--name", "noise", "--disk", image, "--format", "raw")
	return s, a, s.NewVPS(t, a.ID, "noise", "web", true), content
}

func kit(t *testing.T, s *service.Service, a service.Account) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kit.txt")
	if err := os.WriteFile(path, s.Run(t, "admin", "account", "kit", a.ID), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refused runs a command that must end with this status, and returns what it
// said.
func refused(t *testing.T, status int, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), service.Build(t), args...).CombinedOutput() // #nosec G204 -- our own binary
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != status {
		t.Fatalf("holdfast %s: %v instead of status %d\n%s", strings.Join(args, " "), err, status, out)
	}
	return string(out)
}

func TestShutdownHandsABackupBack(t *testing.T) {
	s, a, vps, content := newService(t, service.Set("vault.bytes_per_second", "700000"))
	job := s.Backup(t, a.Key, vps)
	s.Until(t, a.Key, job, 20*time.Second, func(j service.Job) bool { return j.ProgressDetails.Current > 0 })
	began := time.Now()
	s.Stop(t)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the shutdown took %v", took)
	}
	s.Start(t)
	s.Await(t, a.Key, job, time.Minute)
	recovers(t, s, a, content)
	if strings.Contains(s.Log(t), a.Key) {
		t.Error("the log holds a key")
	}
}

// recovers proves that the account's only backup comes back from the vault and
// the kit alone, and returns the backup's id and the kit.
func recovers(t *testing.T, s *service.Service, a service.Account, content []byte) (backup, kitFile string) {
	t.Helper()
	kitFile = kit(t, s, a)
	from := []string{"recover", "--vault", filepath.Join(s.Dir, "vault", a.ID), "--kit", kitFile}
	list := strings.Fields(string(s.Alone(t, from...)))
	if len(list) < 2 {
		t.Fatalf("no backup is listed: %v", list)
	}
	from = append(from, "--backup", list[0])
	if disks := string(s.Alone(t, from...)); !strings.HasPrefix(disks, "disk0  6291456 bytes") {
		t.Errorf("disks: %s", disks)
	}
	output := filepath.Join(t.TempDir(), "disk.raw")
	s.Alone(t, append(from, "--disk", "disk0", "--output", output)...)
	got, err := os.ReadFile(output)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("what was recovered is not what the disk held: %v", err)
	}
	refused(t, 2, append(from, "--disk", "disk0", "--output", output)...)
	refused(t, 2, append(from, "--disk", "disk0")...)
	refused(t, 3, append(from, "--disk", "disk7", "--output", output+"7")...)
	return list[0], kitFile
}

func TestRecoverAndCheck(t *testing.T) {
	s, a, vps, content := newService(t)
	s.Await(t, a.Key, s.Backup(t, a.Key, vps), time.Minute)
	backup, kitFile := recovers(t, s, a, content)
	dir := filepath.Join(s.Dir, "vault", a.ID)
	s.Run(t, "vault", "check", "--read-data")

	other := kit(t, s, s.NewAccount(t, "other"))
	refused(t, 2, "recover", "--vault", dir, "--kit", other)
	refused(t, 3, "recover", "--vault", t.TempDir(), "--kit", kitFile)
	refused(t, 3, "recover", "--vault", dir, "--kit", kitFile, "--backup", "bkp_01m7zw7h1f4ycxnrk1ygc6ekdd")
	spoiled := filepath.Join(t.TempDir(), "kit.txt")
	if err := os.WriteFile(spoiled, []byte("Account: "+a.ID+"\nKey: 0000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, 2, "recover", "--vault", dir, "--kit", spoiled)

	// A flipped byte in a pack is found by reading all, and nothing of the disk is
	// left where half of it was written.
	flip(t, filepath.Join(dir, "packs"))
	if out := refused(t, 5, "vault", "check", "--read-data", "--data", s.Dir); !strings.Contains(out, backup) {
		t.Errorf("the report does not name the backup: %s", out)
	}
	output := filepath.Join(t.TempDir(), "disk.raw")
	refused(t, 5, "recover", "--vault", dir, "--kit", kitFile, "--backup", backup, "--disk", "disk0", "--output", output)
	if _, err := os.Stat(output); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a disk was left: %v", err)
	}
	// In a manifest it is found by everyone, and in the vault's description too.
	flip(t, filepath.Join(dir, "backups"))
	refused(t, 5, "recover", "--vault", dir, "--kit", kitFile)
	refused(t, 5, "recover", "--vault", dir, "--kit", kitFile, "--backup", backup)
	refused(t, 5, "vault", "check", "--data", s.Dir)
	flip(t, filepath.Join(dir, "vault.json"))
	refused(t, 5, "recover", "--vault", dir, "--kit", kitFile)
	refused(t, 5, "vault", "check", "--data", s.Dir)
}

// flip changes a byte in the middle of the largest file below a directory.
func flip(t *testing.T, dir string) {
	t.Helper()
	var largest string
	var size int64
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.Remove(largest), os.WriteFile(largest, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}
