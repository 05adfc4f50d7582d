package vault_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/keys"
)

// copyChild copies to the directory of the test from the one beside it.
func copyChild(ctx context.Context, to *vault.Vault, master keys.MasterKey) error {
	st, err := local.New(os.Getenv("HOLDFAST_TEST_FROM"))
	if err != nil {
		return err
	}
	from, err := vault.OpenWithMaster(ctx, st, master)
	if err != nil {
		return err
	}
	id := os.Getenv("HOLDFAST_TEST_BACKUP")
	_, err = from.Copy(ctx, to, copyOf(id), id, vault.CopyOptions{})
	return err
}

// copySite is a site that is a copy of another one.
func copySite(t *testing.T, of *site) *site {
	c := *of
	c.dir = t.TempDir()
	t.Setenv("HOLDFAST_TEST_FROM", of.dir)
	var err error
	if c.st, err = local.New(c.dir); err != nil {
		t.Fatal(err)
	}
	c.v = twin(t, of.v, of.o, c.st)
	return &c
}

// A copying process that is killed again and again moves no finished pack twice.
func TestKilledCopy(t *testing.T) {
	src := newSite(t)
	disk := noisy(110, 500)
	mustBackup(t, src.v, "b1", disk, "", whole(disk))
	dst := copySite(t, src)
	for round := range 3 {
		cmd, out := dst.process("copy", "b1", 0)
		dst.until("packs/copy-b1/", 6*(round+1), "backups/b1")
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatalf("round %d: the copy was done before it was killed\n%s", round, out)
		}
		checkWhole(t, dst.st, dst.o)
	}
	done := mustCopy(t, src.v, dst.v, "b1")
	if done.Adopted < 15*testPack*8/10 || done.Adopted+done.Uploaded > int64(len(disk))*11/10 {
		t.Errorf("%d bytes adopted, %d uploaded of %d", done.Adopted, done.Uploaded, len(disk))
	}
	mustRestore(t, dst.v, "b1", disk)
	checkWhole(t, dst.st, dst.o)
	if size(t, dst.st) > int64(len(disk))*11/10 {
		t.Errorf("%d bytes are stored for %d", size(t, dst.st), len(disk))
	}
}

// Two processes copy to one vault, a collector runs there, and one of the two is
// killed at random: nothing is lost. HOLDFAST_TEST_ROUNDS asks for more rounds.
func TestCopiesCollectorAndKill(t *testing.T) {
	rounds := 4
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_TEST_ROUNDS")); err == nil {
		rounds = n
	}
	src := newSite(t)
	dst := copySite(t, src)
	r := newRand(111)
	disks := map[string][]byte{}
	for round := range rounds {
		ids := []string{fmt.Sprintf("b%d-0", round), fmt.Sprintf("b%d-1", round)}
		for i, id := range ids {
			disks[id] = childDisk(uint64(300 + 2*round + i))
			mustBackup(t, src.v, id, disks[id], "", whole(disks[id]))
		}
		victim, outVictim := dst.process("copy", ids[0], 0)
		other, out := dst.process("copy", ids[1], 0)
		dst.until("packs/copy-"+ids[0]+"/", 1+r.IntN(8), "backups/"+ids[0])
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		collectAll(t, dst.v, vault.CollectOptions{Poll: time.Millisecond, Session: func(id string) vault.SessionState {
			if strings.HasSuffix(id, ids[0]) {
				return vault.SessionDead
			}
			return vault.SessionAlive
		}})
		_ = victim.Wait() // killed
		if err := other.Wait(); err != nil {
			t.Fatalf("round %d: the other copy: %v\n%s%s", round, err, out, outVictim)
		}
		if _, err := src.v.Copy(t.Context(), dst.v, "again-"+ids[0], ids[0], vault.CopyOptions{}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if round > 0 {
			gone := fmt.Sprintf("b%d-%d", round-1, r.IntN(2))
			delete(disks, gone)
			if err := dst.v.DeleteBackup(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
		}
		if rep := checkWhole(t, dst.st, dst.o); rep.Backups != len(disks) {
			t.Fatalf("round %d: %d backups of %d", round, rep.Backups, len(disks))
		}
	}
	for id, disk := range disks {
		mustRestore(t, dst.v, id, disk)
	}
}
