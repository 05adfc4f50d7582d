package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"holdfast"
	"holdfast/store"
)

// backupResult is the result of a backup on the wire.
type backupResult struct {
	BackupID         holdfast.BackupID `json:"backupId"`
	SizeGb           float64           `json:"sizeGb"`
	TransferredBytes int64             `json:"transferredBytes"`
	ChangedBytes     int64             `json:"changedBytes"`
	DurationSeconds  float64           `json:"durationSeconds"`
	Incremental      string            `json:"incremental"`
	Consistency      string            `json:"consistency"`
}

// SizeGb is a number of bytes in GiB, to three decimals.
func SizeGb(bytes int64) float64 {
	return math.Round(float64(bytes)/float64(holdfast.GiB)*1000) / 1000
}

func backupDone(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	r, err := readBackupReport(raw)
	if err != nil {
		return nil, err
	}
	err = e.tx.CompleteBackup(ctx, e.op.BackupID, r)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: the backup is not pending", errRefused)
	}
	if err == nil {
		err = e.wantCopies(ctx)
	}
	return backupResult{
		BackupID: e.op.BackupID, SizeGb: SizeGb(r.SizeBytes), TransferredBytes: r.TransferredBytes,
		ChangedBytes: r.ChangedBytes, DurationSeconds: e.seconds(), Incremental: r.Incremental, Consistency: r.Consistency,
	}, err
}

// backupFailed frees the slot. What was written of it is garbage.
func backupFailed(ctx context.Context, e *ending) error {
	return errors.Join(e.garbage(ctx, e.care.First),
		gone(e.tx.SetBackupStatus(ctx, e.op.BackupID, holdfast.BackupPending, holdfast.BackupFailed)))
}

// backupDeleted is the end for the customer; the row stays until the backup is
// deleted at the other places, too.
func backupDeleted(ctx context.Context, e *ending, _ json.RawMessage) (any, error) {
	if err := e.garbage(ctx, e.care.First); err != nil {
		return nil, err
	}
	copies, err := e.dropCopies(ctx)
	if err != nil || copies > 0 {
		return struct{}{}, err
	}
	return struct{}{}, gone(e.tx.DeleteBackup(ctx, e.op.BackupID))
}

// readBackupReport takes nothing from a host that cannot be.
func readBackupReport(raw json.RawMessage) (holdfast.BackupReport, error) {
	const maxPoint, maxReason = 200, 512
	var r holdfast.BackupReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errRefused, err)
	}
	first, last := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case r.PointAt.Before(first) || r.PointAt.After(last):
		return r, fmt.Errorf("%w: the point in time is %v", errRefused, r.PointAt)
	case r.LockedUntil.After(last):
		return r, fmt.Errorf("%w: it is locked until %v", errRefused, r.LockedUntil)
	case len(r.Point) > maxPoint:
		return r, fmt.Errorf("%w: the point's name has %d bytes", errRefused, len(r.Point))
	case r.SizeBytes < 0 || r.ChangedBytes < 0 || r.TransferredBytes < 0:
		return r, fmt.Errorf("%w: negative sizes", errRefused)
	case !slices.Contains([]string{holdfast.IncrementalFull, holdfast.IncrementalDelta, holdfast.IncrementalFixed}, r.Incremental):
		return r, fmt.Errorf("%w: incremental is %q", errRefused, r.Incremental)
	case !slices.Contains([]string{holdfast.ConsistencyCrash, holdfast.ConsistencyFilesystem, holdfast.ConsistencyOffline}, r.Consistency):
		return r, fmt.Errorf("%w: consistency is %q", errRefused, r.Consistency)
	case len(r.ConsistencyReason) > maxReason || len(r.IncrementalReason) > maxReason:
		return r, fmt.Errorf("%w: reasons of %d and %d bytes", errRefused, len(r.ConsistencyReason), len(r.IncrementalReason))
	}
	return r, nil
}
