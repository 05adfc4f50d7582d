package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/control"
	"holdfast/operation"
	"holdfast/store"
)

var upkeep = control.Upkeep{First: "local", Copies: []string{"east", "west"}, CollectAfter: time.Minute}

// newUpkeepWorld keeps two further places up.
func newUpkeepWorld(t *testing.T) *queueWorld {
	w := newQueueWorld(t)
	w.queue = w.queue.WithUpkeep(upkeep)
	return w
}

// plan has the upkeep queue what is due.
func (w *queueWorld) plan() {
	w.t.Helper()
	if _, err := w.queue.Backfill(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.queue.KeepUp(w.t.Context(), w.host); err != nil {
		w.t.Fatal(err)
	}
}

// claims are the operations that can be claimed now, in order.
func (w *queueWorld) claims() (ops []holdfast.Operation, leases []operation.Lease) {
	w.t.Helper()
	for {
		o, l, err := w.tryClaim(w.queue, "r")
		if errors.Is(err, operation.ErrNone) {
			return ops, leases
		}
		if err != nil {
			w.t.Fatal(err)
		}
		ops, leases = append(ops, o), append(leases, l)
	}
}

func (w *queueWorld) finish(l operation.Lease, out operation.Outcome) {
	w.t.Helper()
	if err := w.queue.Finish(w.t.Context(), l, out); err != nil {
		w.t.Fatal(err)
	}
}

func (w *queueWorld) copies(b holdfast.BackupID) string {
	w.t.Helper()
	all, err := w.store.Copies(w.t.Context(), b)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, c := range all {
		out = append(out, c.Place+" "+string(c.State))
	}
	return strings.Join(out, ", ")
}

// kinds are what operations do, and where.
func kinds(ops []holdfast.Operation) string {
	var out []string
	for _, o := range ops {
		out = append(out, string(o.Kind)+" "+o.Place)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

var copied = operation.Outcome{Report: report(holdfast.CopyReport{Bytes: 7})}

// copiedBackup is a backup that lies at every place.
func (w *queueWorld) copiedBackup() holdfast.BackupID {
	w.t.Helper()
	_, id := w.backup()
	w.run(operation.Outcome{Report: report(goodBackup())})
	w.plan()
	_, leases := w.claims()
	for _, l := range leases {
		w.finish(l, copied)
	}
	if got := w.copies(id); got != "east complete, west complete" {
		w.t.Fatalf("the copies are %s", got)
	}
	return id
}

func TestCompletedBackupIsCopied(t *testing.T) {
	w := newUpkeepWorld(t)
	first := w.copiedBackup()
	_, id := w.backup()
	newer := goodBackup()
	newer.PointAt = newer.PointAt.Add(time.Second)
	w.run(operation.Outcome{Report: report(newer)})
	if got := w.copies(id); got != "east pending, west pending" {
		t.Errorf("after the backup: %s", got)
	}
	w.plan()
	w.plan() // nothing is queued twice
	ops, leases := w.claims()
	if got := kinds(ops); got != "copy east, copy west" {
		t.Fatalf("queued: %s", got)
	}
	var in holdfast.CopyInput
	if err := json.Unmarshal(ops[0].Input, &in); err != nil || !slices.Equal(in.Bases, []holdfast.BackupID{first}) {
		t.Errorf("input %+v, %v", in, err)
	}
	at := slices.IndexFunc(ops, func(o holdfast.Operation) bool { return o.Place == "east" })
	w.finish(leases[at], copied)
	w.finish(leases[1-at], operation.Outcome{Failure: &holdfast.Failure{Code: holdfast.CodeUpstreamUnavailable, Message: "West does not answer."}})
	c, err := w.store.Copy(t.Context(), id, "west")
	if err != nil || c.State != holdfast.CopyFailed || c.Error != "West does not answer." {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = w.store.Copy(t.Context(), id, "east"); err != nil || c.State != holdfast.CopyComplete || c.Bytes != 7 || c.CompletedAt.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
	w.plan()
	w.idle() // not at once
	w.pass(time.Hour)
	w.plan()
	ops, leases = w.claims()
	if got := kinds(ops); got != "copy west" {
		t.Fatalf("an hour later: %s", got)
	}
	w.finish(leases[0], operation.Outcome{Failure: &holdfast.Failure{Code: holdfast.CodeBackupDamaged, Message: "Damaged."}})
	if got := w.copies(id); got != "east complete, west damaged" {
		t.Errorf("damaged: %s", got)
	}
}

// A place that is added later gets the backups that there are; one that is taken
// out of the configuration is left alone.
func TestPlacesComeAndGo(t *testing.T) {
	w := newQueueWorld(t)
	_, id := w.backup()
	w.run(operation.Outcome{Report: report(goodBackup())})
	w.plan()
	w.idle()
	w.queue = w.queue.WithUpkeep(upkeep)
	w.plan()
	ops, leases := w.claims()
	if got := kinds(ops); got != "copy east, copy west" {
		t.Fatalf("queued: %s", got)
	}
	for _, l := range leases {
		w.finish(l, failedOutcome)
	}
	fewer := upkeep
	fewer.Copies = upkeep.Copies[:1]
	w.queue = w.queue.WithUpkeep(fewer)
	w.pass(2 * time.Hour)
	w.plan()
	if ops, _ = w.claims(); kinds(ops) != "copy east" {
		t.Errorf("queued: %s", kinds(ops))
	}
	if got := w.copies(id); got != "east failed, west failed" {
		t.Errorf("copies: %s", got)
	}
}

// Deleting completes for the customer when the first place has done it; the others
// follow, however long one is away.
func TestDeletionReachesEveryPlace(t *testing.T) {
	w := newUpkeepWorld(t)
	id := w.copiedBackup()
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SetBackupStatus(ctx, id, holdfast.BackupCompleted, holdfast.BackupDeleted)
	})
	w.add(holdfast.Operation{Kind: holdfast.KindBackupDelete, BackupID: id})
	w.run(operation.Outcome{Report: report(struct{}{})})
	if w.backupStatus(id) != holdfast.BackupDeleted || w.copies(id) != "east deleting, west deleting" {
		t.Errorf("after the first place: %s, %s", w.backupStatus(id), w.copies(id))
	}
	w.plan()
	ops, leases := w.claims()
	if got := kinds(ops); got != "copy_delete east, copy_delete west" {
		t.Fatalf("queued: %s", got)
	}
	at := slices.IndexFunc(ops, func(o holdfast.Operation) bool { return o.Place == "east" })
	w.finish(leases[at], operation.Outcome{Report: report(struct{}{})})
	w.finish(leases[1-at], failedOutcome)
	for range 3 { // west stays away
		w.pass(time.Hour)
		w.plan()
		ops, leases = w.claims()
		for i, o := range ops {
			if o.Kind == holdfast.KindVaultCollect {
				w.finish(leases[i], operation.Outcome{Report: report(holdfast.CollectReport{})})
				continue
			}
			w.finish(leases[i], failedOutcome)
		}
		if got := w.copies(id); got != "west deleting" || w.backupStatus(id) != holdfast.BackupDeleted {
			t.Fatalf("while a place is away: %s, %s", got, w.backupStatus(id))
		}
	}
	w.pass(time.Hour)
	w.plan()
	_, leases = w.claims()
	w.finish(leases[0], operation.Outcome{Report: report(struct{}{})})
	if w.backupStatus(id) != "" || w.copies(id) != "" {
		t.Errorf("at the end: %q, %q", w.backupStatus(id), w.copies(id))
	}
}

// A backup that is deleted while it is copied has its copy cancelled, and deleted
// whatever came of it.
func TestDeletedWhileItIsCopied(t *testing.T) {
	for name, out := range map[string]operation.Outcome{"too late": copied, "cancelled": failedOutcome} {
		w := newUpkeepWorld(t)
		_, id := w.backup()
		w.run(operation.Outcome{Report: report(goodBackup())})
		w.plan()
		ops, leases := w.claims()
		w.write(func(ctx context.Context, tx *store.Tx) error {
			return tx.SetBackupStatus(ctx, id, holdfast.BackupCompleted, holdfast.BackupDeleted)
		})
		w.add(holdfast.Operation{Kind: holdfast.KindBackupDelete, BackupID: id})
		w.run(operation.Outcome{Report: report(struct{}{})})
		for i, l := range leases {
			if !w.see(ops[i].ID).Cancel {
				t.Errorf("%s: %s was not cancelled", name, ops[i].Place)
			}
			w.finish(l, out)
		}
		w.plan()
		ops, leases = w.claims()
		if got := kinds(ops); got != "copy_delete east, copy_delete west" {
			t.Fatalf("%s: queued: %s", name, got)
		}
		for _, l := range leases {
			w.finish(l, operation.Outcome{Report: report(struct{}{})})
		}
		if w.backupStatus(id) != "" || w.copies(id) != "" {
			t.Errorf("%s: at the end: %q, %q", name, w.backupStatus(id), w.copies(id))
		}
	}
}

// Deletions within a minute make one collection; one that comes while it runs
// makes another.
func TestCollectionsAreCoalesced(t *testing.T) {
	w := newUpkeepWorld(t)
	w.queue = w.queue.WithUpkeep(control.Upkeep{First: "local", CollectAfter: time.Minute})
	drop := func() {
		w.backup()
		w.run(failedOutcome) // given up, which is garbage as well
	}
	drop()
	drop()
	w.plan()
	w.idle()
	w.pass(time.Minute)
	w.plan()
	ops, leases := w.claims()
	if got := kinds(ops); got != "vault_collect local" {
		t.Fatalf("queued: %s", got)
	}
	drop()
	w.plan()
	w.idle() // one at a time
	w.finish(leases[0], operation.Outcome{Report: report(holdfast.CollectReport{Bytes: 5})})
	w.plan()
	if ops, leases = w.claims(); kinds(ops) != "vault_collect local" {
		t.Fatalf("after a deletion meanwhile: %s", kinds(ops))
	}
	w.finish(leases[0], operation.Outcome{Failure: &holdfast.Failure{Code: holdfast.CodeOperationInProgress, Message: "It waits."}})
	w.plan()
	if ops, leases = w.claims(); kinds(ops) != "vault_collect local" {
		t.Fatalf("after it waited: %s", kinds(ops))
	}
	w.finish(leases[0], failedOutcome)
	w.plan()
	w.idle()
	w.pass(time.Hour)
	w.plan()
	_, leases = w.claims()
	w.finish(leases[0], operation.Outcome{Report: report(holdfast.CollectReport{})})
	w.pass(time.Hour)
	w.plan()
	w.idle()
}

// Customers neither see upkeep nor are kept from anything by it.
func TestUpkeepIsNobodysBusiness(t *testing.T) {
	w := newUpkeepWorld(t)
	_, id := w.backup()
	w.run(operation.Outcome{Report: report(goodBackup())})
	w.plan()
	ops, _ := w.claims()
	c := control.New(w.store, control.Options{})
	caller := control.Caller{Account: w.account, Scopes: holdfast.AllScopes()}
	for _, o := range ops {
		if _, err := c.GetJob(t.Context(), caller, o.ID.String()); holdfast.CodeOf(err) != holdfast.CodeJobNotFound {
			t.Errorf("%s is shown: %v", o.Kind, err)
		}
		info, err := c.JobInfo(t.Context(), control.JobInput{JobID: o.ID.String()})
		if err != nil || info.Place != o.Place {
			t.Errorf("the operator sees %+v, %v", info, err)
		}
	}
	list, _, err := w.store.ListOperations(t.Context(), w.account, store.OperationFilter{}, store.Page{Limit: 10})
	if err != nil || len(list) != 1 || list[0].Kind != holdfast.KindBackup {
		t.Errorf("the account's jobs: %+v, %v", list, err)
	}
	all, err := c.ListAllBackups(t.Context(), control.ListBackupsInput{Account: w.account.String()})
	if err != nil || len(all) != 1 || len(all[0].Copies) != 2 || all[0].Copies[0].State != holdfast.CopyCopying {
		t.Errorf("the operator's backups: %+v, %v", all, err)
	}
	if err := c.DeleteBackup(t.Context(), caller, w.vps.ID.String(), id.String()); err != nil {
		t.Errorf("a copy keeps its backup from being deleted: %v", err)
	}
}

// The loop needs no polling to begin what is due, and ends with its context.
func TestUpkeepLoop(t *testing.T) {
	w := newUpkeepWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		w.queue.Upkeep(ctx, w.host)
		close(over)
	}()
	w.backup()
	w.run(operation.Outcome{Report: report(goodBackup())})
	for deadline := time.Now().Add(10 * time.Second); ; {
		woken := w.queue.Woken()
		if ops, _ := w.claims(); len(ops) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was queued")
		}
		select {
		case <-woken:
		case <-time.After(time.Second):
		}
	}
	stop()
	<-over
}
