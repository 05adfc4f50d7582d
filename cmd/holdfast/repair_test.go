package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/test/service"
)

// copyOf is the account's vault at another place.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	place := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(place, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return place
}

// damaged runs a command that must end with status 5, and returns what it printed.
func damaged(t *testing.T, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), service.Build(t), args...) // #nosec G204 -- our own binary
	stdout, err := cmd.Output()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != exitDamaged {
		t.Fatalf("holdfast %s: %v instead of status 5\n%s", strings.Join(args, " "), err, stdout)
	}
	return stdout, string(exit.Stderr)
}

func TestPartialRecovery(t *testing.T) {
	s, a, vps, content := newService(t)
	s.Await(t, a.Key, s.Backup(t, a.Key, vps), time.Minute)
	backup, kitFile := recovers(t, s, a, content)
	dir := filepath.Join(s.Dir, "vault", a.ID)
	flip(t, filepath.Join(dir, "packs"))
	output := filepath.Join(t.TempDir(), "disk.raw")
	from := []string{"recover", "--vault", dir, "--kit", kitFile, "--backup", backup, "--disk", "disk0", "--output", output}
	if _, said := damaged(t, from...); !strings.Contains(said, "--partial") {
		t.Errorf("the way out is not named: %s", said)
	}
	list, _ := damaged(t, append(from, "--partial")...)
	var lost []loss
	if err := json.Unmarshal(list, &lost); err != nil || len(lost) != 1 || lost[0].Image != "disk0" || lost[0].Length != 256<<10 || lost[0].Reason == "" {
		t.Fatalf("lost: %v, %s", err, list)
	}
	want := slices.Clone(content)
	clear(want[lost[0].Offset:][:lost[0].Length])
	got, err := os.ReadFile(output)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was written is not all that can be read: %v", err)
	}
}

func TestRepair(t *testing.T) {
	s, a, vps, content := newService(t)
	s.Await(t, a.Key, s.Backup(t, a.Key, vps), time.Minute)
	dir := filepath.Join(s.Dir, "vault", a.ID)
	other := copyOf(t, dir)
	live := filepath.Join(t.TempDir(), "live.raw")
	if err := os.WriteFile(live, content, 0o600); err != nil {
		t.Fatal(err)
	}
	mend := []string{"vault", "repair", "--data", s.Dir, "--account", a.ID}

	// A chunk, from a disk that still has it.
	flip(t, filepath.Join(dir, "packs"))
	report, _ := damaged(t, mend...)
	if !strings.Contains(string(report), `"remaining"`) || !strings.Contains(string(report), "disk0") {
		t.Errorf("the report does not name what is lost: %s", report)
	}
	if dry := string(s.Run(t, append(mend[:2:2], "--account", a.ID, "--from-disk", "disk0="+live, "--dry-run")...)); !strings.Contains(dry, `"chunks": 1`) {
		t.Errorf("dry run: %s", dry)
	}
	damaged(t, "vault", "check", "--data", s.Dir)
	s.Run(t, "vault", "repair", "--account", a.ID, "--from-disk", "disk0="+live)
	s.Run(t, "vault", "check", "--read-data")

	// Everything by which it is opened, and the manifest, from the other place.
	flip(t, filepath.Join(dir, "keys"))
	for _, name := range []string{"vault.json", "backups"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	damaged(t, mend...)
	s.Run(t, "vault", "repair", "--account", a.ID, "--from", other)
	s.Run(t, "vault", "check", "--sample", "50%")
	recovers(t, s, a, content)

	// The whole of it.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.Run(t, "vault", "repair", "--account", a.ID, "--from", other)
	s.Run(t, "vault", "check", "--read-data")
	recovers(t, s, a, content)

	// A manifest that is missing is damage: the database knows of the backup.
	if err := os.RemoveAll(filepath.Join(dir, "backups")); err != nil {
		t.Fatal(err)
	}
	damaged(t, "vault", "check", "--data", s.Dir)

	refused(t, 2, mend[:4]...)
	refused(t, 2, append(mend, "--from-disk", "disk0")...)
	refused(t, 3, append(mend, "--from", t.TempDir())...)
	refused(t, 2, "vault", "check", "--data", s.Dir, "--sample", "2")
	refused(t, 2, "vault", "check", "--data", s.Dir, "--sample", "101%")
	b := s.NewAccount(t, "other")
	s.Await(t, b.Key, s.Backup(t, b.Key, s.NewVPS(t, b.ID, "noise", "theirs", true)), time.Minute)
	refused(t, 2, append(mend, "--from", filepath.Join(s.Dir, "vault", b.ID))...)
}
