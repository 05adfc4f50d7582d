package control_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/internal/testpg"
	"holdfast/store"
)

// raceWorld is a gateWorld, and a second process on its database.
type raceWorld struct {
	*gateWorld

	both []*control.Control
}

func newRaceWorld(t *testing.T) *raceWorld {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	w := &raceWorld{gateWorld: newGateWorldAt(t, path)}
	s, err := store.Open(t.Context(), testpg.At(t, path), store.WithReserve(0))
	w.ok(err)
	t.Cleanup(func() { w.ok(s.Close()) })
	w.both = []*control.Control{w.control, control.New(s, w.control.Options())}
	return w
}

// stampede calls do n times at once, in turn through both processes, and counts the
// codes that came of it; "" is success.
func (w *raceWorld) stampede(n int, do func(c *control.Control, i int) error) map[holdfast.Code]int {
	w.t.Helper()
	out := map[holdfast.Code]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			err := do(w.both[i%2], i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				out[""]++
				return
			}
			out[holdfast.CodeOf(err)]++
		})
	}
	close(start)
	wg.Wait()
	return out
}

// 64 at once at one free slot, instance or lock: exactly one gets it, and the
// others hear the reason that the gate gives.
func TestOneFreePlace(t *testing.T) {
	const n = 64
	w := newRaceWorld(t)
	caller, v := w.customer()
	a, err := w.store.Account(w.ctx(), caller.Account)
	w.ok(err)
	a.BackupSlots, a.Cloud.Limits.Instances = 2, 1
	w.tx(func(tx *store.Tx) error { return tx.UpdateAccount(w.ctx(), a) })
	w.backup(v, holdfast.BackupCompleted)
	list, err := w.control.ListBackups(w.ctx(), caller, v.ID.String())
	w.ok(err)
	backup := list.Backups[0].ID.String()
	only := func(what string, got map[holdfast.Code]int, reason holdfast.Code) {
		t.Helper()
		if got[""] != 1 || got[reason] != n-1 {
			t.Errorf("%s: %v", what, got)
		}
	}
	only("the last instance", w.stampede(n, func(c *control.Control, _ int) error {
		_, err := c.RestoreToPayg(w.ctx(), caller, v.ID.String(), backup, holdfast.PaygRequest{}, nil)
		return err
	}), holdfast.CodeInstanceLimitExceeded)
	only("the last slot", w.stampede(n, func(c *control.Control, _ int) error {
		_, err := c.CreateBackup(w.ctx(), caller, v.ID.String(), "", nil)
		return err
	}), holdfast.CodeOperationInProgress)

	// Without the lock it is the slot alone that they all want.
	ops, err := w.store.ActiveOperations(w.ctx(), v.ID)
	w.ok(err)
	w.tx(func(tx *store.Tx) error {
		o, err := tx.ClaimOperation(w.ctx(), w.host, []holdfast.Kind{holdfast.KindBackup}, "r", time.Minute)
		if err != nil {
			return err
		}
		return errors.Join(tx.SetBackupStatus(w.ctx(), o.BackupID, holdfast.BackupPending, holdfast.BackupFailed),
			tx.EndOperation(w.ctx(), store.Held{Job: ops[0].ID, Epoch: o.Epoch, Runner: "r"}, nil, &holdfast.Failure{Code: holdfast.CodeInternal}))
	})
	only("the slot alone", w.stampede(n, func(_ *control.Control, _ int) error {
		return w.store.Tx(w.ctx(), func(tx *store.Tx) error {
			used, err := tx.UsedSlots(w.ctx(), v.ID)
			if err != nil {
				return err
			}
			if err := holdfast.QuotaGate(holdfast.Quota{Used: used, Limit: a.BackupSlots}).Err(); err != nil {
				return err
			}
			return tx.InsertBackup(w.ctx(), holdfast.Backup{ID: holdfast.NewID[holdfast.BackupID](), AccountID: v.AccountID, VPSID: v.ID, Status: holdfast.BackupPending})
		})
	}), holdfast.CodeBackupQuotaExceeded)
}

// A host is never promised more than it has, by whomever and through whichever
// process.
func TestAHostIsNotOversold(t *testing.T) {
	const n, room = 24, 5
	w := newRaceWorld(t)
	_, err := w.control.RegisterHost(w.ctx(), control.RegisterHostInput{Name: "h", Region: "here", Capacity: control.LimitsInfo{Instances: room}})
	w.ok(err)
	var callers [4]control.Caller
	var backups [4]holdfast.Backup
	for i := range callers {
		caller, v := w.customerNamed(fmt.Sprint("c", i))
		v.Service = holdfast.ServiceTerminated // takes no room
		w.tx(func(tx *store.Tx) error { return tx.SetService(w.ctx(), v.ID, v.Service) })
		w.backup(v, holdfast.BackupCompleted)
		list, err := w.store.BackupsOfVPS(w.ctx(), v.ID)
		w.ok(err)
		callers[i], backups[i] = caller, list[0]
	}
	got := w.stampede(n, func(c *control.Control, i int) error {
		b := backups[i%4]
		_, err := c.RestoreToPayg(w.ctx(), callers[i%4], b.VPSID.String(), b.ID.String(), holdfast.PaygRequest{}, nil)
		return err
	})
	used, err := w.store.UsedHost(w.ctx(), w.host)
	w.ok(err)
	if got[""] != room || got[holdfast.CodeRegionCapacity] != n-room || used.Instances != room {
		t.Errorf("%v, %d machines on the host", got, used.Instances)
	}
}

// Two commands that each look at what the other one writes: one of them comes
// first, and the other sees it. Under a weaker isolation both would go through.
func TestWhatWasReadHolds(t *testing.T) {
	const rounds = 12
	w := newRaceWorld(t)
	type command func(c *control.Control, caller control.Caller, v holdfast.VPS, b holdfast.Backup) error
	restore := func(c *control.Control, caller control.Caller, v holdfast.VPS, b holdfast.Backup) error {
		_, err := c.RestoreToPayg(w.ctx(), caller, v.ID.String(), b.ID.String(), holdfast.PaygRequest{}, nil)
		return err
	}
	backup := func(c *control.Control, caller control.Caller, v holdfast.VPS, _ holdfast.Backup) error {
		_, err := c.CreateBackup(w.ctx(), caller, v.ID.String(), "", nil)
		return err
	}
	shred := func(c *control.Control, caller control.Caller, _ holdfast.VPS, _ holdfast.Backup) error {
		return c.ShredAccount(w.ctx(), caller.Account, func(time.Time, int) ([]byte, error) { return []byte("{}"), nil })
	}
	remove := func(c *control.Control, caller control.Caller, v holdfast.VPS, b holdfast.Backup) error {
		return c.DeleteBackup(w.ctx(), caller, v.ID.String(), b.ID.String())
	}
	end := func(c *control.Control, _ control.Caller, v holdfast.VPS, _ holdfast.Backup) error {
		_, err := c.DeleteVPS(w.ctx(), control.VPSInput{VPS: v.ID.String()})
		return err
	}
	for name, pair := range map[string][2]command{
		"a backup is deleted while it is restored":       {restore, remove},
		"an account is shredded while a backup begins":   {backup, shred},
		"an account is shredded while a restore begins":  {restore, shred},
		"a backup is deleted while the account is ended": {remove, shred},
		"a VPS is deleted while a backup of it begins":   {backup, end},
		"a backup is deleted twice":                      {remove, remove},
		"a VPS is deleted twice":                         {end, end},
		"a backup of a VPS begins twice":                 {backup, backup},
	} {
		firsts := [2]int{}
		for round := range rounds {
			caller, v := w.customerNamed(fmt.Sprint(name, round))
			w.backup(v, holdfast.BackupCompleted)
			list, err := w.store.BackupsOfVPS(w.ctx(), v.ID)
			w.ok(err)
			var errs [2]error
			w.stampede(2, func(c *control.Control, i int) error {
				errs[i] = pair[i](c, caller, v, list[0])
				return errs[i]
			})
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Errorf("%s: %v and %v", name, errs[0], errs[1])
			}
			for i, err := range errs {
				if err == nil {
					firsts[i]++
				} else if code := holdfast.CodeOf(err); code == holdfast.CodeInternal || code == holdfast.CodeUpstreamUnavailable {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		t.Logf("%s: first %v", name, firsts)
	}
}

// Claims of many runners in two processes: every operation is held once, and none
// is left.
func TestEveryOperationIsClaimedOnce(t *testing.T) {
	const n, runners = 120, 8
	w := newRaceWorld(t)
	caller, v := w.customer()
	for range n {
		w.tx(func(tx *store.Tx) error {
			return tx.InsertOperation(w.ctx(), holdfast.Operation{ID: holdfast.NewID[holdfast.JobID](), Kind: holdfast.KindBackupDelete, AccountID: caller.Account, VPSID: v.ID, HostID: w.host})
		})
	}
	var mu sync.Mutex
	held := map[holdfast.JobID]int{}
	claim := func(ctx context.Context, s *store.Store, runner string) error {
		return s.TxLease(ctx, func(tx *store.Tx) error {
			o, err := tx.ClaimOperation(ctx, w.host, []holdfast.Kind{holdfast.KindBackupDelete}, runner, time.Minute)
			if err == nil {
				mu.Lock()
				held[o.ID]++
				mu.Unlock()
			}
			return err
		})
	}
	var wg sync.WaitGroup
	for i := range runners {
		wg.Go(func() {
			for {
				err := claim(w.ctx(), w.store, fmt.Sprint("r", i))
				if errors.Is(err, store.ErrNotFound) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if len(held) != n {
		t.Errorf("%d of %d were claimed", len(held), n)
	}
	for id, times := range held {
		if times != 1 {
			t.Errorf("%s was claimed %d times", id, times)
		}
	}
}

// Commands that have nothing to do with each other all succeed, however many come
// at once: none is told that the service is too busy.
func TestManyAtOnceAllSucceed(t *testing.T) {
	const n = 64
	w := newRaceWorld(t)
	caller, v := w.customer()
	all := []holdfast.VPS{v}
	for len(all) < n {
		other := w.vps(caller.Account)
		w.tx(func(tx *store.Tx) error { return tx.InsertVPS(w.ctx(), other) })
		all = append(all, other)
	}
	got := w.stampede(n, func(c *control.Control, i int) error {
		_, err := c.CreateBackup(w.ctx(), caller, all[i].ID.String(), "", nil)
		return err
	})
	if got[""] != n {
		t.Error(got)
	}
}
