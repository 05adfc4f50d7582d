package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast"
	"holdfast/operation"
	"holdfast/store"
)

// snapshotResult is the result of operations on snapshots on the wire.
type snapshotResult struct {
	VPSID      holdfast.VPSID `json:"vpsId"`
	SnapshotID string         `json:"snapshotId"` // its name
	// CreatedAt, ExpiresAt and Consistency are of a snapshot that was created.
	CreatedAt   string `json:"createdAt,omitempty"`
	ExpiresAt   string `json:"expiresAt,omitempty"`
	Consistency string `json:"consistency,omitempty"`
	// PowerState is the VPS's after a rollback.
	PowerState      holdfast.PowerState `json:"powerState,omitempty"`
	DurationSeconds float64             `json:"durationSeconds"`
}

// wireTime is a time as the wire has it.
func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// snapshot is the one that the operation works on: ErrNotFound when it is gone.
func (e *ending) snapshot(ctx context.Context) (holdfast.Snapshot, error) {
	var in holdfast.SnapshotInput
	if err := json.Unmarshal(e.op.Input, &in); err != nil {
		return holdfast.Snapshot{}, fmt.Errorf("control: input of %s: %w", e.op.ID, err)
	}
	return e.tx.SnapshotByID(ctx, in.Snapshot)
}

func (e *ending) snapshotResult(s holdfast.Snapshot) snapshotResult {
	return snapshotResult{VPSID: e.op.VPSID, SnapshotID: s.Name, DurationSeconds: e.seconds()}
}

// stepOf says how far the host came with a step, by its journal.
func (e *ending) stepOf(ctx context.Context, step string) (begun, done bool) {
	journal, err := e.tx.Journal(ctx, e.op.ID)
	if err != nil {
		return true, false // what may be there is cleared away
	}
	begun, done, err = operation.StepIn(journal, step)
	return begun, done && err == nil
}

func readSnapshotReport(raw json.RawMessage) (holdfast.SnapshotReport, error) {
	var r holdfast.SnapshotReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errRefused, err)
	}
	return r, nil
}

func snapshotCreated(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	r, err := readSnapshotReport(raw)
	if err != nil {
		return nil, err
	}
	s, err := e.snapshot(ctx)
	if errors.Is(err, store.ErrNotFound) || err == nil && s.Status != holdfast.SnapshotPending {
		return nil, fmt.Errorf("%w: the snapshot is not pending", errRefused)
	}
	if err != nil {
		return nil, err
	}
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if err != nil {
		return nil, err
	}
	// By the service's clock: a host's that is wrong must not keep it for ever.
	at := r.TakenAt.UTC()
	if at.Before(e.op.StartedAt) {
		at = e.op.StartedAt
	}
	if at.After(e.now) {
		at = e.now
	}
	s.Status, s.TakenAt, s.ExpiresAt, s.Frozen = holdfast.SnapshotCompleted, at, at.Add(e.care.Snapshots.withDefaults().Lifetime), r.Frozen
	out := e.snapshotResult(s)
	out.CreatedAt, out.ExpiresAt, out.Consistency = wireTime(s.TakenAt), wireTime(s.ExpiresAt), holdfast.ConsistencyCrash
	switch {
	case s.Frozen:
		out.Consistency = holdfast.ConsistencyFilesystem
	case v.Power == holdfast.PowerStopped:
		out.Consistency = holdfast.ConsistencyOffline
	}
	return out, e.tx.SetSnapshot(ctx, s)
}

// snapshotCreateFailed frees the name and the place in the limit. What the host
// may have of it is deleted.
func snapshotCreateFailed(ctx context.Context, e *ending) error {
	s, err := e.snapshot(ctx)
	if err != nil {
		return gone(err)
	}
	if begun, _ := e.stepOf(ctx, holdfast.StepSnapshotTake); !begun {
		return e.tx.DeleteSnapshot(ctx, s.ID)
	}
	s.Status = holdfast.SnapshotDeleting
	return e.tx.SetSnapshot(ctx, s)
}

func snapshotRestored(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	r, err := readSnapshotReport(raw)
	if err != nil {
		return nil, err
	}
	power := holdfast.MachineReport{Power: r.Power}
	if err := checkMachine(power); err != nil {
		return nil, err
	}
	s, err := e.snapshot(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: the snapshot is gone", errRefused)
	}
	if err != nil {
		return nil, err
	}
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if err != nil {
		return nil, err
	}
	out := e.snapshotResult(s)
	out.PowerState = r.Power
	return out, errors.Join(e.tx.DeleteLaterSnapshots(ctx, s), e.report(ctx, v, power))
}

// snapshotRestoreFailed writes what is so in spite of the failure, and has the VPS
// run if it ran.
func snapshotRestoreFailed(ctx context.Context, e *ending) error {
	if err := e.runOn(ctx); err != nil {
		return err
	}
	s, err := e.snapshot(ctx)
	if err != nil {
		return gone(err)
	}
	if _, switched := e.stepOf(ctx, holdfast.StepSnapshotSwitch); switched {
		return e.tx.DeleteLaterSnapshots(ctx, s)
	}
	if e.failure.Code == holdfast.CodeSnapshotNotFound { // by the host's word
		return e.tx.DeleteSnapshot(ctx, s.ID)
	}
	return nil
}

func snapshotDeleted(ctx context.Context, e *ending, _ json.RawMessage) (any, error) {
	s, err := e.snapshot(ctx)
	if err != nil {
		return e.snapshotResult(s), gone(err)
	}
	return e.snapshotResult(s), e.tx.DeleteSnapshot(ctx, s.ID)
}

// snapshotDeleteFailed leaves a snapshot whose deletion was not begun as it was.
// One whose was is of no use any more: its deletion is never given up.
func snapshotDeleteFailed(ctx context.Context, e *ending) error {
	s, err := e.snapshot(ctx)
	if err != nil {
		return gone(err)
	}
	if begun, _ := e.stepOf(ctx, holdfast.StepSnapshotRemove); begun {
		s.Status = holdfast.SnapshotDeleting
	}
	now, err := e.tx.LeaseNow(ctx)
	if err != nil {
		return err
	}
	s.Error, s.DueAt = e.failure.Message, now.Add(upkeepAgain)
	return e.tx.SetSnapshot(ctx, s)
}
