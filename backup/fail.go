package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/operation"
)

// cleanup bounds what is done when the operation's own context has ended, or
// must not be listened to. A shutdown waits about as long.
const cleanup = 15 * time.Second

// fail decides what is left behind: nothing when the backup ends here, what a
// successor builds on when there will be one. A backup that turns out to be
// committed has not failed.
func (b *attempt) fail(ctx context.Context, err error) (any, error) {
	held := b.run.Held()
	cause := context.Cause(ctx)
	if held.Err() != nil || errors.Is(err, operation.ErrLeaseLost) || errors.Is(cause, operation.ErrShutdown) {
		return nil, err // all of it is the successor's
	}
	held, cancel := context.WithTimeout(held, cleanup)
	defer cancel()
	cancelled := errors.Is(cause, operation.ErrCancelled)
	err = explain("backup.Backup", err)
	ends := cancelled || !b.run.Retried(err)
	if report, found := b.late(held, ends); found {
		if report == nil {
			return nil, err
		}
		return report, nil
	}
	left := b.abandon(held)
	if left == nil && ends {
		left = b.forget(held, cancelled)
	}
	if left != nil {
		b.Log.ErrorContext(ctx, "a backup that failed has left something behind", "job", b.run.Operation.ID, "err", left)
	}
	switch {
	case cancelled && left != nil:
		// It must not look like the answer to the cancel, or nobody would try again.
		return nil, fmt.Errorf("backup: clear up after a cancel: %w", left)
	case cancelled:
		return nil, fmt.Errorf("%w: %w", operation.ErrCancelled, err)
	case left != nil && b.run.Retried(left):
		return nil, fmt.Errorf("backup: clear up after a failure (%v): %w", err, left) //nolint:errorlint // the failure may not be tried again, the clearing up must be
	}
	return nil, errors.Join(err, left)
}

// late finds out whether the backup is committed in spite of what went wrong,
// such as a lost answer or a cancel that came too late. A nil report asks for
// another try: change tracking could not be settled.
func (b *attempt) late(ctx context.Context, ends bool) (report any, found bool) {
	if b.vault == nil {
		var err error
		if b.vault, err = b.Vaults.Open(ctx, b.run.Operation.AccountID); err != nil {
			b.vault = nil
			return nil, false
		}
	}
	m, found, err := b.committed(ctx)
	if err != nil || !found {
		return nil, false
	}
	settled, err := b.settle(m)
	if err == nil {
		return settled, true
	}
	b.Log.ErrorContext(ctx, "change tracking could not be advanced to a committed backup", "job", b.run.Operation.ID, "err", err)
	if !ends {
		return nil, true
	}
	return reportOf(m, b.vault.Params().ChunkSize), true
}

// forget gives up in the vault what only a successor could use. After a cancel
// the backup can never appear, not even by a predecessor that was only asleep.
func (b *attempt) forget(ctx context.Context, cancelled bool) error {
	if b.vault == nil {
		return nil
	}
	if cancelled {
		if err := b.vault.DeleteBackup(ctx, string(b.run.Operation.BackupID)); err != nil && !noSpace(err) {
			return fmt.Errorf("backup: %w", err)
		}
	}
	if err := b.vault.Abandon(ctx, b.session()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}
