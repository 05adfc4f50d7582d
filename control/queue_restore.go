package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"holdfast"
	"holdfast/store"
)

// inPlaceResult is the result of a restore in place on the wire.
type inPlaceResult struct {
	VPSID           holdfast.VPSID      `json:"vpsId"`
	BackupID        holdfast.BackupID   `json:"backupId"`
	PowerState      holdfast.PowerState `json:"powerState"`
	BytesWritten    int64               `json:"bytesWritten"`
	DurationSeconds float64             `json:"durationSeconds"`
	UndoUntil       string              `json:"undoUntil"`
}

func inPlaceDone(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	var r holdfast.InPlaceReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	if r.BytesWritten < 0 {
		return nil, fmt.Errorf("%w: %d bytes written", errRefused, r.BytesWritten)
	}
	if err := checkMachine(holdfast.MachineReport{Power: r.Power}); err != nil {
		return nil, err
	}
	until := e.now.Add(e.care.Restore.withDefaults().UndoFor)
	out := inPlaceResult{
		VPSID: e.op.VPSID, BackupID: e.op.BackupID, PowerState: r.Power, BytesWritten: r.BytesWritten,
		DurationSeconds: e.seconds(), UndoUntil: wireTime(until),
	}
	return out, e.replaced(ctx, holdfast.GenerationPreparing, r.Power, func(former holdfast.Generation) error {
		old, err := safetyOf(ctx, e.tx.Queries(), e.op.VPSID)
		if err == nil && old != nil { // there is one safety point, the last
			err = e.tx.SetGeneration(ctx, old.VPSID, old.Number, old.State, holdfast.GenerationDropping)
		}
		if err != nil {
			return err
		}
		former.State, former.ExpiresAt = holdfast.GenerationSafety, until
		return e.tx.InsertGeneration(ctx, former)
	})
}

// inPlaceFailed has what was written dropped. The VPS has its disks; one that this
// service has stopped and not started again is started.
func inPlaceFailed(ctx context.Context, e *ending) error {
	err := e.tx.SetGeneration(ctx, e.op.VPSID, e.generation(), holdfast.GenerationPreparing, holdfast.GenerationDropping)
	return errors.Join(gone(err), e.runOn(ctx))
}

func undone(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	r, err := readMachineReport(raw)
	if err != nil {
		return nil, err
	}
	return vpsResult{e.op.VPSID, r.Power}, e.replaced(ctx, holdfast.GenerationReturning, r.Power, func(former holdfast.Generation) error {
		former.State = holdfast.GenerationDropping
		return e.tx.InsertGeneration(ctx, former)
	})
}

// undoFailed leaves the safety point, for another try.
func undoFailed(ctx context.Context, e *ending) error {
	err := e.tx.SetGeneration(ctx, e.op.VPSID, e.generation(), holdfast.GenerationReturning, holdfast.GenerationSafety)
	return errors.Join(gone(err), e.runOn(ctx))
}

// generation is the number of the disks that the operation is about; 0, which no
// disks have, when its input does not say.
func (e *ending) generation() int {
	var in holdfast.GenerationInput
	if err := json.Unmarshal(e.op.Input, &in); err != nil {
		return 0
	}
	number, err := strconv.Atoi(in.Generation)
	if err != nil {
		return 0
	}
	return number
}

// replaced writes that the VPS has the operation's disks, which were in a state,
// and hands over those that it had before.
func (e *ending) replaced(ctx context.Context, from holdfast.GenerationState, power holdfast.PowerState, keep func(former holdfast.Generation) error) error {
	number := e.generation()
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	var g holdfast.Generation
	if err == nil {
		g, err = e.tx.Generation(ctx, v.ID, number)
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && g.State != from {
		return fmt.Errorf("%w: no such disks are expected", errRefused)
	}
	if err != nil {
		return err
	}
	former := holdfast.Generation{
		VPSID: v.ID, AccountID: v.AccountID, HostID: v.HostID, Number: v.Generation, Disks: v.Disks, OS: v.OS, Base: v.Base,
	}
	if err := e.tx.DeleteGeneration(ctx, v.ID, number); err != nil {
		return err
	}
	v.LastGeneration = max(v.LastGeneration, v.Generation, number)
	v.Generation, v.Disks, v.OS, v.Base = number, g.Disks, g.OS, g.Base
	if err := e.tx.SetVPSGeneration(ctx, v); err != nil {
		return err
	}
	return errors.Join(keep(former), e.report(ctx, v, holdfast.MachineReport{Power: power}))
}

// runOn starts a VPS that an operation has stopped for other disks, and that died
// too often to start it again.
func (e *ending) runOn(ctx context.Context) error {
	journal, err := e.tx.Journal(ctx, e.op.ID)
	if err != nil {
		return err
	}
	var ran struct {
		Done   bool `json:"done"`
		Result bool `json:"result"`
	}
	if b, known := journal["step/power"]; known {
		if err := json.Unmarshal(b, &ran); err != nil {
			return fmt.Errorf("control: journal of %s: %w", e.op.ID, err)
		}
	}
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if err != nil || !ran.Done || !ran.Result || v.Desired != holdfast.PowerRunning {
		return gone(err)
	}
	return e.queue(ctx, holdfast.KindVPSStart, 0)
}

// generationDropped is the end of disks that are not in force, and of what was
// known of them.
func generationDropped(ctx context.Context, e *ending, _ json.RawMessage) (any, error) {
	number := e.generation()
	return struct{}{}, errors.Join(e.tx.DeleteSnapshotsOf(ctx, e.op.VPSID, number), gone(e.tx.DeleteGeneration(ctx, e.op.VPSID, number)))
}

// generationDropFailed has it tried again, later.
func generationDropFailed(ctx context.Context, e *ending) error {
	now, err := e.tx.LeaseNow(ctx)
	if err != nil {
		return err
	}
	return gone(e.tx.DelayGeneration(ctx, e.op.VPSID, e.generation(), now.Add(againAfter), e.failure.Message))
}

// keepGenerations queues the removal of disks that have expired or are not wanted.
func (q *Queue) keepGenerations(ctx context.Context) error {
	due, err := q.store.DueGenerations(ctx, upkeepBatch)
	seen := map[holdfast.VPSID]bool{}
	for _, g := range due {
		if seen[g.VPSID] {
			continue // one at a time
		}
		seen[g.VPSID] = true
		err = errors.Join(err, q.store.TxUrgent(ctx, func(tx *store.Tx) error { return q.dropGeneration(ctx, tx, g) }))
	}
	return err
}

func (*Queue) dropGeneration(ctx context.Context, tx *store.Tx, g holdfast.Generation) error {
	if g.State == holdfast.GenerationSafety {
		// An undo that was faster keeps it.
		err := tx.SetGeneration(ctx, g.VPSID, g.Number, holdfast.GenerationSafety, holdfast.GenerationDropping)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	_, err := enqueue(ctx, tx, holdfast.Operation{
		Kind: holdfast.KindGenerationDrop, AccountID: g.AccountID, VPSID: g.VPSID, HostID: g.HostID, Lock: holdfast.LockNone,
	}, holdfast.GenerationInput{Generation: holdfast.GenerationName(g.Number)})
	if holdfast.CodeOf(err) == holdfast.CodeOperationInProgress {
		return nil // another process was faster
	}
	return err
}
