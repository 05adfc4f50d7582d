package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"holdfast"
	"holdfast/operation"
	"holdfast/store"
)

// effect is what follows from the end of an operation of one kind.
type effect struct {
	// done is told the report and gives the job's result. errRefused, before
	// anything is written: the report cannot be true, and the operation failed.
	done func(ctx context.Context, e *ending, report json.RawMessage) (result any, err error)
	// failed undoes what the operation's beginning wrote.
	failed func(ctx context.Context, e *ending) error
}

// effects has every kind.
var effects = map[holdfast.Kind]effect{
	holdfast.KindBackup:          {backupDone, backupFailed},
	holdfast.KindBackupDelete:    {backupDeleted, again},
	holdfast.KindRestoreToPayg:   {restoreDone, restoreFailed},
	holdfast.KindVPSCreate:       {vpsCreated, vpsCreateFailed},
	holdfast.KindVPSStart:        {powerDone, powerFailed},
	holdfast.KindVPSStop:         {powerDone, powerFailed},
	holdfast.KindVPSRestart:      {powerDone, powerFailed},
	holdfast.KindVPSReset:        {powerDone, powerFailed},
	holdfast.KindVPSDelete:       {vpsDeleted, vpsDeleteFailed},
	holdfast.KindSnapshotCreate:  {snapshotCreated, snapshotCreateFailed},
	holdfast.KindSnapshotRestore: {snapshotRestored, snapshotRestoreFailed},
	holdfast.KindSnapshotDelete:  {snapshotDeleted, snapshotDeleteFailed},
	holdfast.KindRestoreInPlace:  {inPlaceDone, inPlaceFailed},
	holdfast.KindRestoreUndo:     {undone, undoFailed},
	holdfast.KindGenerationDrop:  {generationDropped, generationDropFailed},
	holdfast.KindVPSReshape:      {reshaped, reshapeFailed},
	holdfast.KindCopy:            {copyDone, copyFailed},
	holdfast.KindCopyDelete:      {copyDeleted, copyFailed},
	holdfast.KindVaultCollect:    {collectDone, collectFailed},
}

// errRefused: a report says what cannot be.
var errRefused = errors.New("control: the report is refused")

// againAfter is when clearing up that failed is tried once more.
const againAfter = 10 * time.Minute

// ending is the end of one operation, within its transaction.
type ending struct {
	tx      *store.Tx
	op      holdfast.Operation
	now     time.Time
	care    Upkeep
	failure *holdfast.Failure // of one that failed
	refused error
}

// settle writes what follows from an outcome, and says how the operation ends.
func (e *ending) settle(ctx context.Context, out operation.Outcome) ([]byte, *holdfast.Failure, error) {
	f, known := effects[e.op.Kind]
	if !known {
		return nil, nil, fmt.Errorf("control: no operation of kind %q can end", e.op.Kind)
	}
	failure := out.Failure
	if failure == nil {
		result, err := f.done(ctx, e, out.Report)
		if err == nil {
			b, err := json.Marshal(result)
			return b, nil, err
		}
		if !errors.Is(err, errRefused) {
			return nil, nil, err
		}
		e.refused = err
		failure = &holdfast.Failure{Code: holdfast.CodeInternal, Message: "The operation ended in a way that makes no sense. Ask support."}
	}
	e.failure = honest(failure)
	return nil, e.failure, f.failed(ctx, e)
}

// honest is a failure within the bounds of what is kept and shown.
func honest(f *holdfast.Failure) *holdfast.Failure {
	const maxCode, maxText, maxExtensions = 64, 1000, 4096
	out := holdfast.Failure{Code: holdfast.Code(cut(string(f.Code), maxCode)), Message: cut(f.Message, maxText)}
	if out.Code == "" {
		out.Code = holdfast.CodeInternal
	}
	if b, err := json.Marshal(f.Extensions); err == nil && len(b) <= maxExtensions {
		out.Extensions = f.Extensions
	}
	return &out
}

// begun says whether a runner has ever had the operation; if not, nothing of it is
// anywhere but in the database.
func (e *ending) begun() bool { return e.op.Epoch > 0 }

// seconds is how long the operation took, from its first claim.
func (e *ending) seconds() float64 {
	return math.Round(max(e.now.Sub(e.op.StartedAt), 0).Seconds()*10) / 10
}

// queue queues an operation that follows from this one. It needs no lock: what
// it clears away is already gone for everybody else.
func (e *ending) queue(ctx context.Context, kind holdfast.Kind, delay time.Duration) error {
	o := holdfast.Operation{
		Kind: kind, AccountID: e.op.AccountID, VPSID: e.op.VPSID, HostID: e.op.HostID, Lock: holdfast.LockNone, CreatedAt: e.now,
	}
	if kind == e.op.Kind {
		o.BackupID = e.op.BackupID
	}
	if delay > 0 {
		now, err := e.tx.LeaseNow(ctx)
		if err != nil {
			return err
		}
		o.NotBefore = now.Add(delay)
	}
	_, err := enqueue(ctx, e.tx, o, struct{}{})
	return err
}

// again queues the same once more, later: the customer has been told that it is
// done, so it cannot be given up.
func again(ctx context.Context, e *ending) error { return e.queue(ctx, e.op.Kind, againAfter) }

// gone makes a change of a row that is not there any more no failure.
func gone(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
