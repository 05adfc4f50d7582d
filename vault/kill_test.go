package vault_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/local"
	"holdfast/vault/keys"
)

const killEnv = "HOLDFAST_TEST_KILL"

// TestKilledWriter lets a process write a backup slowly into a directory, kills
// it after a few packs, and takes its session up. Nothing is lost, no temporary
// file stays, and no sealed pack is uploaded again.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		writeSlowly(t, dir)
		return
	}
	dir := t.TempDir()
	st, err := local.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := newOwner()
	path := filepath.Join(t.TempDir(), "master.key")
	if o.master, err = keys.CreateMasterKey(path); err != nil {
		t.Fatal(err)
	}
	v, err := vault.Init(t.Context(), st, o.config())
	if err != nil {
		t.Fatal(err)
	}
	disk := noisy(70, 600)
	for round := range 3 {
		killAfter(t, st, dir, path, 5*(round+1))
	}
	var adopted, uploaded int64
	err = v.Write(t.Context(), "s-b1", func(ctx context.Context, s *vault.Session) error {
		adopted = s.Adopted()
		im, err := s.WriteImage(ctx, vault.ImageInput{Name: "disk0", Size: int64(len(disk)), Read: bytes.NewReader(disk), Ranges: whole(disk)})
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: "b1", CreatedAt: time.Now(), Images: []vault.Image{im}})
		uploaded = s.Uploaded()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if adopted < 15*testPack*8/10 || adopted+uploaded > int64(len(disk))*11/10 {
		t.Errorf("adopted %d, uploaded %d for a disk of %d bytes", adopted, uploaded, len(disk))
	}
	mustRestore(t, v, "b1", disk)
	checkWhole(t, st, o)
	if _, err := local.New(dir); err != nil { // sweeps
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, ".tmp")); err != nil || len(left) != 0 {
		t.Errorf("temporary files %v, %v", left, err)
	}
}

// killAfter runs a writer until so many packs are stored, and kills it.
func killAfter(t *testing.T, st *local.Storage, dir, key string, packs int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
	cmd.Env = append(os.Environ(), killEnv+"="+dir, "HOLDFAST_TEST_KEY="+key)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for n := 0; n < packs; {
		n = 0
		for _, err := range st.List(t.Context(), "packs/s-b1/d") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if time.Now().After(deadline) {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatalf("the writer was not there to be killed: %v\n%s", err, out.String())
	}
	if err := cmd.Wait(); err == nil || time.Now().After(deadline) {
		t.Fatalf("the writer ended by itself or wrote no packs: %v\n%s", err, out.String())
	}
}

func writeSlowly(t *testing.T, dir string) {
	master, err := keys.LoadMasterKey(os.Getenv("HOLDFAST_TEST_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	inner, err := local.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	st := fault.New(inner)
	v, err := vault.OpenWithMaster(t.Context(), st, master)
	if err != nil {
		t.Fatal(err)
	}
	st.SetBandwidth(1 << 20)
	disk := noisy(70, 600)
	if _, err := backup(t.Context(), v, "b1", disk, "", whole(disk)); err != nil {
		t.Fatal(err)
	}
}
