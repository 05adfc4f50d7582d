package control_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"holdfast"
	"holdfast/control"
	"holdfast/operation"
	"holdfast/store"
)

// A cancel that meets the claim of its job either ends it before a runner has it, or
// is told to the runner: never both, and never neither.
func TestCancelMeetsClaim(t *testing.T) {
	w := newQueueWorld(t)
	c := control.New(w.store, control.Options{})
	caller := control.Caller{Account: w.account, Key: holdfast.NewID[holdfast.KeyID](), Scopes: holdfast.Scopes{holdfast.ScopeBackupVM}}
	_, beside := w.open() // a process of its own
	for range 20 {
		b := holdfast.Backup{ID: holdfast.NewID[holdfast.BackupID](), AccountID: w.account, VPSID: w.vps.ID, Status: holdfast.BackupPending, RequestedAt: someTime}
		w.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertBackup(ctx, b) })
		o := w.add(holdfast.Operation{Kind: holdfast.KindBackup, BackupID: b.ID, Lock: holdfast.LockData, KeyID: caller.Key})
		var both sync.WaitGroup
		var claimed, cancelled error
		var lease operation.Lease
		both.Go(func() { _, lease, claimed = w.tryClaim(beside, "r") })
		both.Go(func() { _, cancelled = c.CancelJob(t.Context(), caller, o.ID.String(), nil) })
		both.Wait()
		if cancelled != nil || claimed != nil && !errors.Is(claimed, operation.ErrNone) {
			t.Fatal(cancelled, claimed)
		}
		switch got := w.see(o.ID); {
		case claimed != nil:
			if got.Status != holdfast.OperationFailed || got.Epoch != 0 || w.backupStatus(b.ID) != holdfast.BackupFailed {
				t.Fatalf("nobody has it: %+v", got)
			}
		case got.Status != holdfast.OperationInProgress || !got.Cancel || w.backupStatus(b.ID) != holdfast.BackupPending:
			t.Fatalf("its runner has it: %+v", got)
		default:
			if err := beside.Finish(t.Context(), lease, operation.Outcome{Failure: &holdfast.Failure{Code: holdfast.CodeCancelled}}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Each kind of work can be cancelled by its customer, or is named here.
func TestEveryKindIsCancelledOrNot(t *testing.T) {
	never := map[holdfast.Kind]bool{
		holdfast.KindBackupDelete: true,                                                              // done with the answer to its call
		holdfast.KindVPSCreate:    true, holdfast.KindVPSDelete: true, holdfast.KindVPSReshape: true, // the operator's
	}
	w := newQueueWorld(t)
	c := control.New(w.store, control.Options{})
	caller := control.Caller{Account: w.account, Key: holdfast.NewID[holdfast.KeyID](), Scopes: holdfast.Scopes{holdfast.ScopeWriteAll}}
	for _, kind := range allKinds {
		o := w.add(holdfast.Operation{Kind: kind, KeyID: caller.Key, Input: report(holdfast.SnapshotInput{}), Place: map[bool]string{true: string(kind)}[kind.Upkeep()]})
		want := fmt.Sprint(holdfast.Code(""), holdfast.OperationFailed)
		switch {
		case kind.Upkeep():
			want = fmt.Sprint(holdfast.CodeJobNotFound, holdfast.OperationQueued)
		case never[kind]:
			want = fmt.Sprint(holdfast.CodeJobNotCancellable, holdfast.OperationQueued)
		}
		_, err := c.CancelJob(t.Context(), caller, o.ID.String(), nil)
		var code holdfast.Code
		if err != nil {
			code = holdfast.CodeOf(err)
		}
		if got := fmt.Sprint(code, w.see(o.ID).Status); got != want {
			t.Errorf("%s: %s, want %s: %v", kind, got, want, err)
		}
	}
}
