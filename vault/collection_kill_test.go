package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/local"
	"holdfast/vault/keys"
)

// childEnv tells a process of these tests what to do: write, collect or copy.
const childEnv = "HOLDFAST_TEST_CHILD"

// TestMain lets the test binary be the other processes.
func TestMain(m *testing.M) {
	if do := os.Getenv(childEnv); do != "" {
		if err := child(do); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(exitOf(err))
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func exitOf(err error) int {
	if errors.Is(err, vault.ErrSessionLost) {
		return 7
	}
	return 1
}

func child(do string) error {
	if do == "index" {
		return indexChild()
	}
	ctx := context.Background()
	master, err := keys.LoadMasterKey(os.Getenv("HOLDFAST_TEST_KEY"))
	if err != nil {
		return err
	}
	inner, err := local.New(os.Getenv("HOLDFAST_TEST_DIR"))
	if err != nil {
		return err
	}
	st := fault.New(inner)
	st.SetLatency(2 * time.Millisecond)
	v, err := vault.OpenWithMaster(ctx, st, master)
	if err != nil {
		return err
	}
	if do == "copy" {
		return copyChild(ctx, v, master)
	}
	if do == "collect" {
		p, err := v.PlanCollection(ctx, atOnce)
		if err == nil {
			_, err = v.Collect(ctx, p, atOnce)
		}
		return err
	}
	seed, err := strconv.ParseUint(os.Getenv("HOLDFAST_TEST_SEED"), 10, 64)
	if err != nil {
		return err
	}
	disk := childDisk(seed)
	_, err = backup(ctx, v, os.Getenv("HOLDFAST_TEST_BACKUP"), disk, "", whole(disk))
	return err
}

// childDisk shares its second half with every other.
func childDisk(seed uint64) []byte { return append(noisy(seed, 120), noisy(1, 120)...) }

func newReader(p []byte) io.ReaderAt { return bytes.NewReader(p) }

// site is a vault in a directory, with its key in a file.
type site struct {
	t        *testing.T
	dir, key string
	st       *local.Storage
	v        *vault.Vault
	o        owner
}

func newSite(t *testing.T) *site {
	s := &site{t: t, dir: t.TempDir(), key: filepath.Join(t.TempDir(), "master.key"), o: newOwner()}
	var err error
	if s.o.master, err = keys.CreateMasterKey(s.key); err != nil {
		t.Fatal(err)
	}
	if s.st, err = local.New(s.dir); err != nil {
		t.Fatal(err)
	}
	if s.v, err = vault.Init(t.Context(), s.st, s.o.config()); err != nil {
		t.Fatal(err)
	}
	return s
}

// process starts another process on the vault.
func (s *site) process(do string, backup string, seed uint64) (*exec.Cmd, *bytes.Buffer) {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+do, "HOLDFAST_TEST_DIR="+s.dir, "HOLDFAST_TEST_KEY="+s.key,
		"HOLDFAST_TEST_BACKUP="+backup, fmt.Sprintf("HOLDFAST_TEST_SEED=%d", seed))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended by then, unless the test failed
	return cmd, &out
}

// until waits for so many blobs below a prefix, or for the process to have put
// its manifest, which it may do sooner.
func (s *site) until(prefix string, n int, end string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if len(names(s.t, s.st, prefix)) >= n || len(names(s.t, s.st, end)) > 0 {
			return
		}
	}
	s.t.Fatalf("there were never %d blobs below %s", n, prefix)
}

// A writer stopped past every limit loses its session to a collection, and what
// it does when it goes on again counts for nothing, or is whole.
func TestStoppedWriter(t *testing.T) {
	lost := 0
	for round := range 6 {
		s := newSite(t)
		old := childDisk(1)
		mustBackup(t, s.v, "b0", old, "", whole(old))
		other := noisy(77, 100)
		mustBackup(t, s.v, "b2", other, "", whole(other))
		// The writer relies on chunks of b0, which goes while it is stopped.
		cmd, out := s.process("write", "b1", 9)
		s.until("packs/s-b1/", 1+round*3/2, "backups/b1")
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if err := s.v.DeleteBackup(t.Context(), "b0"); err != nil {
			t.Fatal(err)
		}
		sum := collectAll(t, s.v, atOnce)
		checkOK(t, s.v)
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		switch m, merr := s.v.Manifest(t.Context(), "b1"); {
		case err == nil && merr == nil:
			mustRestore(t, s.v, m.Backup, childDisk(9))
		case errors.As(err, &exit) && exit.ExitCode() == 7 && errors.Is(merr, vault.ErrNoBackup):
			lost++
		default:
			t.Fatalf("round %d: the writer ended with %v, its backup is %v\n%s%+v", round, err, merr, out, sum)
		}
		mustRestore(t, s.v, "b2", other)
		collectAll(t, s.v, atOnce)
		mustRestore(t, s.v, "b2", other)
		checkWhole(t, s.st, s.o)
	}
	if lost == 0 {
		t.Error("no writer lost its session: none was stopped in its work")
	}
}

// A collector killed at any of its stages leaves a whole vault, and the next one
// goes on where it was.
func TestKilledCollector(t *testing.T) {
	for _, sign := range []string{"plans/00000001", "plans/00000001-sessions", "packs/collect-", "index/collect-", "tombstones/plan-", "plans/00000001-done"} {
		s := newSite(t)
		disk := noisy(40, 200)
		mustBackup(t, s.v, "b1", disk, "", whole(disk))
		part := disk[:60*testChunk]
		mustBackup(t, s.v, "b2", part, "", whole(part))
		mixed := append(noisy(41, 100), disk[:100*testChunk]...)
		mustBackup(t, s.v, "b3", mixed, "", whole(mixed))
		kept := append(clone(mixed[:10*testChunk]), part...)
		mustBackup(t, s.v, "b4", kept, "", whole(kept))
		for _, id := range []string{"b1", "b3"} {
			if err := s.v.DeleteBackup(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		cmd, out := s.process("collect", "", 0)
		s.until(sign, 1, "plans/00000001-done")
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, or done just before
		checkWhole(t, s.st, s.o)
		mustRestore(t, s.v, "b4", kept)
		p, err := s.v.PlanCollection(t.Context(), atOnce)
		if err != nil {
			t.Fatal(err)
		}
		if done := len(names(t, s.st, "plans/00000001-done")) > 0; p.Published == done {
			t.Errorf("killed at %s: the plan is %v\n%s", sign, p, out)
		}
		collectAll(t, s.v, atOnce)
		checkWhole(t, s.st, s.o)
		mustRestore(t, s.v, "b2", part)
		mustRestore(t, s.v, "b4", kept)
		if n := size(t, s.st); n > int64(len(kept)+len(part))*13/10 {
			t.Errorf("killed at %s: %d bytes are left", sign, n)
		}
	}
}

// Two processes back up, a collector runs, and one of the writers is killed at
// random: nothing is lost. HOLDFAST_TEST_ROUNDS asks for more rounds.
func TestWritersCollectorAndKill(t *testing.T) {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_TEST_ROUNDS")); err == nil {
		rounds = n
	}
	s := newSite(t)
	r := newRand(50)
	disks := map[string][]byte{}
	for round := range rounds {
		type writer struct {
			cmd *exec.Cmd
			out *bytes.Buffer
			id  string
		}
		var ws []writer
		for i := range 2 {
			id, seed := fmt.Sprintf("b%d-%d", round, i), uint64(100+2*round+i)
			disks[id] = childDisk(seed)
			cmd, out := s.process("write", id, seed)
			ws = append(ws, writer{cmd, out, id})
		}
		victim := r.IntN(2)
		s.until("packs/s-"+ws[victim].id+"/", 1+r.IntN(8), "backups/"+ws[victim].id)
		if err := ws[victim].cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// Only the dead one's session is ended.
		o := vault.CollectOptions{Poll: time.Millisecond, Session: func(id string) vault.SessionState {
			if strings.HasSuffix(id, ws[victim].id) {
				return vault.SessionDead
			}
			return vault.SessionAlive
		}}
		collectAll(t, s.v, o)
		_ = ws[victim].cmd.Wait() // killed
		if err := ws[1-victim].cmd.Wait(); err != nil {
			t.Fatalf("round %d: the other writer: %v\n%s", round, err, ws[1-victim].out)
		}
		if _, err := s.v.Manifest(t.Context(), ws[victim].id); errors.Is(err, vault.ErrNoBackup) {
			delete(disks, ws[victim].id)
		} else if err != nil {
			t.Fatal(err)
		}
		for id := range disks {
			if len(disks) > 3 && r.IntN(2) == 0 {
				delete(disks, id)
				if err := s.v.DeleteBackup(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		collectAll(t, s.v, o)
		rep := checkWhole(t, s.st, s.o)
		if rep.Backups != len(disks) {
			t.Fatalf("round %d: %d backups of %d", round, rep.Backups, len(disks))
		}
		for id, disk := range disks {
			mustRestore(t, s.v, id, disk)
		}
	}
}
