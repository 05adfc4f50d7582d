package control

import (
	"context"

	"holdfast"
	"holdfast/operation"
	"holdfast/store"
)

// cancelling says how operations of a kind are cancelled.
type cancelling struct {
	scopes []holdfast.Scope // that start one, and so cancel it
	// commit is the step that cannot be taken back once it has begun. An operation
	// without one may still complete after its cancel was accepted, as a backup does
	// whose manifest is written.
	commit string
	// unbegun: only before a runner has it. A guest that was asked to power off may
	// do so at any time.
	unbegun bool
	// schedule: also what no key has started, for the customer's schedule did.
	schedule bool
}

var (
	byBackup = []holdfast.Scope{holdfast.ScopeBackupVM}
	byPower  = []holdfast.Scope{holdfast.ScopePowerVM}
)

// cancellings has the kinds that a customer may cancel. The others were started by
// the operator, or done for the customer with the answer to the call.
var cancellings = map[holdfast.Kind]cancelling{
	holdfast.KindBackup:          {scopes: byBackup, schedule: true},
	holdfast.KindRestoreToPayg:   {scopes: []holdfast.Scope{holdfast.ScopeBackupVM, holdfast.ScopeWriteBilling}},
	holdfast.KindRestoreInPlace:  {scopes: byBackup, commit: holdfast.StepSwitch},
	holdfast.KindRestoreUndo:     {scopes: byBackup, commit: holdfast.StepSwitch},
	holdfast.KindSnapshotCreate:  {scopes: byBackup, schedule: true},
	holdfast.KindSnapshotRestore: {scopes: byBackup, commit: holdfast.StepSnapshotSwitch},
	holdfast.KindSnapshotDelete:  {scopes: byBackup, commit: holdfast.StepSnapshotRemove},
	holdfast.KindVPSStart:        {scopes: byPower, unbegun: true},
	holdfast.KindVPSStop:         {scopes: byPower, unbegun: true},
	holdfast.KindVPSRestart:      {scopes: byPower, unbegun: true},
	holdfast.KindVPSReset:        {scopes: byPower, unbegun: true},
}

// cancelGate is the gate of CancelJob, but for the caller's scopes.
func cancelGate(ctx context.Context, q *store.Queries, o holdfast.Operation) (holdfast.Gate, error) {
	shut := func(reason string) (holdfast.Gate, error) {
		return holdfast.Shut(holdfast.CodeJobNotCancellable, reason), nil
	}
	how, known := cancellings[o.Kind]
	begun := o.Epoch > 0
	switch {
	case !o.Active():
		return shut("The job has ended already.")
	case !known:
		return shut("A job of this type cannot be cancelled.")
	case o.KeyID == "" && !how.schedule:
		return shut("The job was not started with an API key, so none can cancel it.")
	case how.unbegun && begun:
		return shut("A power action that has begun cannot be cancelled. Wait until it has ended.")
	case how.commit != "" && begun:
		late, err := q.Journalled(ctx, o.ID, operation.StepKey(how.commit))
		if err != nil {
			return holdfast.Gate{}, err
		}
		if late {
			return shut("The job has come too far to be cancelled. Wait until it has ended.")
		}
	}
	return holdfast.Open, nil
}

// cancelledJob is how a job that was cancelled ends.
var cancelledJob = holdfast.Failure{Code: holdfast.CodeCancelled, Message: "The operation was cancelled."}

// MayCancelJob says whether the caller may ask for the end of a job at all: it
// needs the scopes that start such a job. A caller that may start none learns
// nothing of which jobs exist.
func (c *Control) MayCancelJob(ctx context.Context, caller Caller, id string) error {
	_, err := jobToCancel(ctx, c.store.Queries(), caller, id)
	return told("control.MayCancelJob", err)
}

func jobToCancel(ctx context.Context, q *store.Queries, caller Caller, id string) (holdfast.Operation, error) {
	const none = "There is no such job. GET /api/jobs lists yours."
	if !caller.Scopes.Has(byPower...) {
		if err := holdfast.ScopeGate(caller.Scopes, byBackup...).Err(); err != nil {
			return holdfast.Operation{}, err
		}
	}
	job, err := holdfast.ParseID[holdfast.JobID](id)
	if err != nil {
		return holdfast.Operation{}, holdfast.E(holdfast.CodeJobNotFound, none)
	}
	o, err := q.OperationOf(ctx, caller.Account, job)
	if err == nil && o.Kind.Upkeep() {
		err = store.ErrNotFound
	}
	if err != nil {
		return holdfast.Operation{}, missing(err, holdfast.CodeJobNotFound, none)
	}
	return o, holdfast.ScopeGate(caller.Scopes, cancellings[o.Kind].scopes...).Err()
}

// CancelJob asks for the end of a job of the caller's account. One that was never
// begun ends at once, whatever its host does; another when its runner has cleared
// up. Repeated, it changes nothing. It works on a full disk, for it frees space.
func (c *Control) CancelJob(ctx context.Context, caller Caller, id string, o *Once) (Accepted, error) {
	return c.onceBy(ctx, c.urgent, "control.CancelJob", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		job, err := jobToCancel(ctx, tx.Queries(), caller, id)
		if err != nil {
			return holdfast.Operation{}, err
		}
		if f := job.Failure; f != nil && f.Code == holdfast.CodeCancelled {
			return job, nil // the answer to the first request was lost
		}
		g, err := cancelGate(ctx, tx.Queries(), job)
		if err == nil {
			err = g.Err()
		}
		if err != nil {
			return holdfast.Operation{}, err
		}
		switch {
		case job.Epoch == 0:
			err = endUnbegun(ctx, tx, job)
		case !job.Cancel:
			err = tx.RequestCancel(ctx, job.ID)
		}
		if err != nil {
			return holdfast.Operation{}, err
		}
		return tx.Operation(ctx, job.ID)
	})
}

// endUnbegun ends a job that no runner ever had, with all that follows from it. In
// the vault and on the host there is nothing of it.
func endUnbegun(ctx context.Context, tx *store.Tx, job holdfast.Operation) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	failure := cancelledJob
	e := &ending{tx: tx, op: job, now: now, failure: &failure}
	if err := effects[job.Kind].failed(ctx, e); err != nil {
		return err
	}
	return tx.EndUnbegun(ctx, job.ID, &failure)
}
