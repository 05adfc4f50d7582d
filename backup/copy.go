package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"holdfast"
	"holdfast/operation"
	"holdfast/vault"
)

// Keeper is the upkeep of the vaults: it copies backups to further places, deletes
// the copies of deleted ones, and collects what they leave. It is safe for
// concurrent use.
type Keeper struct {
	Vaults Vaults
	// Sessions says what is known of the sessions of an account's vault at a place.
	Sessions func(ctx context.Context, account holdfast.AccountID, place string) func(session string) vault.SessionState
	Log      *slog.Logger

	mu      sync.Mutex
	watches map[string]*vault.SessionWatch // by account and place
}

// sessionTries bounds how often one operation begins its copy anew because a
// collection at the place took its session for dead.
const sessionTries = 100

// CopySession is the vault's session of a backup's copy, which every operation for
// it takes up: what a failed one has moved is not moved again.
func CopySession(backup holdfast.BackupID) string { return "copy-" + backup.ULID() }

// Copy is the handler of holdfast.KindCopy. It reads the backup from the first
// place that can give it back whole.
func (k *Keeper) Copy(ctx context.Context, run *operation.Run) (any, error) {
	op := run.Operation
	var in holdfast.CopyInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	to, err := k.Vaults.Twin(ctx, op.AccountID, op.Place)
	if err != nil {
		return nil, explainPlace("backup.Copy", op.Place, err)
	}
	var first error
	for _, place := range k.Vaults.Places() {
		if place == op.Place {
			continue
		}
		done, err := k.copyFrom(ctx, run, place, to, in)
		if err == nil {
			return holdfast.CopyReport{Bytes: done.Uploaded + done.Adopted}, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || errors.Is(err, vault.ErrDeleted) {
			break
		}
	}
	if errors.Is(context.Cause(ctx), operation.ErrCancelled) { // the backup was deleted
		held, cancel := context.WithTimeout(run.Held(), cleanup)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("%w: %w", operation.ErrCancelled, first), to.Abandon(held, CopySession(op.BackupID)))
	}
	return nil, explainPlace("backup.Copy", op.Place, first)
}

func (k *Keeper) copyFrom(ctx context.Context, run *operation.Run, place string, to *vault.Vault, in holdfast.CopyInput) (vault.Copied, error) {
	op := run.Operation
	from, err := k.Vaults.At(ctx, op.AccountID, place)
	if err != nil {
		return vault.Copied{}, err
	}
	o := vault.CopyOptions{Progress: func(done, total, uploaded int64) {
		run.Progress(min(done, total-1), total, fmt.Sprintf("Copying to %s, %d bytes sent", op.Place, uploaded))
	}}
	for _, b := range in.Bases {
		o.Bases = append(o.Bases, string(b))
	}
	session := CopySession(op.BackupID)
	for n := 2; ; n++ {
		done, err := from.Copy(ctx, to, session, string(op.BackupID), o)
		if !errors.Is(err, vault.ErrSessionLost) || n > sessionTries {
			return done, err
		}
		session = fmt.Sprintf("%s.%d", CopySession(op.BackupID), n)
	}
}

// DeleteCopy is the handler of holdfast.KindCopyDelete. A vault that is not there
// is made: a copy that is late must find the tombstone.
func (k *Keeper) DeleteCopy(ctx context.Context, run *operation.Run) (any, error) {
	op := run.Operation
	v, err := k.Vaults.Twin(ctx, op.AccountID, op.Place)
	if err == nil {
		err = v.DeleteBackup(ctx, string(op.BackupID))
	}
	if err != nil {
		return nil, explainPlace("backup.DeleteCopy", op.Place, err)
	}
	return struct{}{}, nil
}
