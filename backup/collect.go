package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast"
	"holdfast/operation"
	"holdfast/vault"
)

const (
	// A collection waits so long for running backups and then lets others have the
	// runner, for as long as waitAgain.
	collectWait = 3 * time.Second
	collectPoll = 200 * time.Millisecond
	waitAgain   = 15 * time.Second
	// Backups that came and went meanwhile have it planned anew so often at once.
	collectRounds = 3
)

// waits is why a collection is tried again later.
type waits struct{ error }

// Retryable implements operation.Retryable.
func (waits) Retryable() (bool, time.Duration) { return true, waitAgain }

// Unwrap returns the cause.
func (w waits) Unwrap() error { return w.error }

// Collect is the handler of holdfast.KindVaultCollect.
func (k *Keeper) Collect(ctx context.Context, run *operation.Run) (any, error) {
	op := run.Operation
	report, err := k.collect(ctx, run)
	older, waiting := errors.AsType[*vault.WaitingError](err)
	switch {
	case err == nil, errors.Is(err, vault.ErrNoVault):
		return report, nil
	case waiting:
		run.Progress(0, 0, older.Error())
		return nil, holdfast.Wrap(holdfast.CodeOperationInProgress, "backup.Collect",
			"The collection waits for backups that were running when it began.", waits{err})
	}
	return nil, explainPlace("backup.Collect", op.Place, err)
}

func (k *Keeper) collect(ctx context.Context, run *operation.Run) (holdfast.CollectReport, error) {
	op := run.Operation
	var report holdfast.CollectReport
	v, err := k.Vaults.At(ctx, op.AccountID, op.Place)
	if err != nil {
		return report, err
	}
	if _, err := v.Sweep(ctx); err != nil {
		return report, err
	}
	o := vault.CollectOptions{
		Wait: collectWait, Poll: collectPoll, Session: k.Sessions(ctx, op.AccountID, op.Place), Watch: k.watch(op),
		Progress: func(stage string, done, total int) {
			run.Progress(int64(done), int64(total), fmt.Sprintf("Collecting at %s: %s", op.Place, stage))
		},
	}
	for range collectRounds {
		p, err := v.PlanCollection(ctx, o)
		if err != nil {
			return report, err
		}
		done, err := v.Collect(ctx, p, o)
		report.Deleted += done.Deleted
		report.Bytes += done.Bytes
		report.Copied += done.Copied
		if err != nil || !done.Again {
			return report, err
		}
	}
	return report, nil
}

// watch is what this process has seen of the sessions of a vault. One operation
// at a time collects it.
func (k *Keeper) watch(op holdfast.Operation) *vault.SessionWatch {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := string(op.AccountID) + "/" + op.Place
	if k.watches == nil {
		k.watches = map[string]*vault.SessionWatch{}
	}
	if k.watches[key] == nil {
		k.watches[key] = &vault.SessionWatch{}
	}
	return k.watches[key]
}
