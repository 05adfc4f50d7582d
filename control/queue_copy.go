package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast"
	"holdfast/store"
)

// How long upkeep that failed waits for its next operation, which tries several
// times itself.
const (
	upkeepAgain = 10 * time.Minute
	finalAgain  = time.Hour // what only an operator, or a date, can change
)

// wantCopies notes that a completed backup is to be copied to every further place.
func (e *ending) wantCopies(ctx context.Context) error {
	now, err := e.tx.LeaseNow(ctx)
	if err != nil {
		return err
	}
	for _, place := range e.care.Copies {
		c := holdfast.BackupCopy{BackupID: e.op.BackupID, AccountID: e.op.AccountID, Place: place, State: holdfast.CopyPending, DueAt: now}
		if err := e.tx.InsertCopy(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// dropCopies has a deleted backup deleted wherever it was copied to, or is being
// copied to, and counts these places: a place that is away now is not forgotten.
func (e *ending) dropCopies(ctx context.Context) (int, error) {
	copies, err := e.tx.Copies(ctx, e.op.BackupID)
	if err != nil {
		return 0, err
	}
	now, err := e.tx.LeaseNow(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range copies {
		if err := e.dropCopy(ctx, c, now); err != nil {
			return 0, err
		}
	}
	return len(copies), nil
}

func (e *ending) dropCopy(ctx context.Context, c holdfast.BackupCopy, now time.Time) error {
	from := c.State
	c.State, c.Error, c.DueAt = holdfast.CopyDeleting, "", now
	if err := e.tx.SetCopy(ctx, c, from); err != nil {
		return err
	}
	o, err := e.tx.Upkeep(ctx, holdfast.KindCopy, c.AccountID, c.BackupID, c.Place)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = e.tx.RequestCancel(ctx, o.ID)
	}
	return err
}

// garbage notes that something was deleted at a place.
func (e *ending) garbage(ctx context.Context, place string) error {
	if e.care.CollectAfter <= 0 || place == "" {
		return nil
	}
	now, err := e.tx.LeaseNow(ctx)
	if err != nil {
		return err
	}
	return e.tx.NoteGarbage(ctx, e.op.AccountID, place, now.Add(e.care.CollectAfter))
}

func copyDone(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	var r holdfast.CopyReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	if r.Bytes < 0 {
		return nil, fmt.Errorf("%w: %d bytes", errRefused, r.Bytes)
	}
	c, err := e.tx.Copy(ctx, e.op.BackupID, e.op.Place)
	if err != nil || c.State == holdfast.CopyDeleting {
		return struct{}{}, gone(err) // its deletion follows
	}
	from := c.State
	c.State, c.Bytes, c.CompletedAt, c.Error = holdfast.CopyComplete, r.Bytes, e.now, ""
	return r, e.tx.SetCopy(ctx, c, from)
}

// copyFailed is for the copy's deletion, too: neither is ever given up.
func copyFailed(ctx context.Context, e *ending) error {
	c, err := e.tx.Copy(ctx, e.op.BackupID, e.op.Place)
	if err != nil {
		return gone(err)
	}
	from := c.State
	if from == holdfast.CopyDeleting && e.op.Kind == holdfast.KindCopy {
		return nil // it was cancelled, for the backup is deleted
	}
	now, err := e.tx.LeaseNow(ctx)
	if err != nil {
		return err
	}
	c.Error, c.DueAt = e.failure.Message, now.Add(upkeepAgain)
	if e.failure.Code == holdfast.CodeBackupDamaged || e.failure.Code == holdfast.CodeBackupLocked {
		c.DueAt = now.Add(finalAgain)
	}
	switch {
	case from == holdfast.CopyDeleting:
	case e.failure.Code == holdfast.CodeBackupDamaged:
		c.State = holdfast.CopyDamaged
	default:
		c.State = holdfast.CopyFailed
	}
	return e.tx.SetCopy(ctx, c, from)
}

// copyDeleted removes the backup's row with the last of its copies.
func copyDeleted(ctx context.Context, e *ending, _ json.RawMessage) (any, error) {
	if err := gone(e.tx.DeleteCopy(ctx, e.op.BackupID, e.op.Place)); err != nil {
		return nil, err
	}
	if err := e.garbage(ctx, e.op.Place); err != nil {
		return nil, err
	}
	left, err := e.tx.Copies(ctx, e.op.BackupID)
	if err != nil || len(left) > 0 {
		return struct{}{}, err
	}
	return struct{}{}, gone(e.tx.DeleteBackup(ctx, e.op.BackupID))
}

// collectDone leaves the garbage noted that came meanwhile: it is collected next.
func collectDone(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	var r holdfast.CollectReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	var in holdfast.CollectInput
	if err := json.Unmarshal(e.op.Input, &in); err != nil {
		return nil, err
	}
	return r, gone(e.tx.ClearGarbage(ctx, e.op.AccountID, e.op.Place, in.Deletions))
}

// collectFailed has it tried again: at once if it only waits for a backup that
// was running when it began.
func collectFailed(ctx context.Context, e *ending) error {
	now, err := e.tx.LeaseNow(ctx)
	if err != nil {
		return err
	}
	if e.failure.Code != holdfast.CodeOperationInProgress {
		now = now.Add(upkeepAgain)
	}
	return gone(e.tx.DelayGarbage(ctx, e.op.AccountID, e.op.Place, now))
}
