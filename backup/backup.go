// Package backup holds the data plane's use cases: to back a VPS up, to restore
// a backup to a new Cloud VM, and to delete one. Each is the handler of a kind
// of operation. It moves bytes between a hypervisor's disks and a vault, keeps
// no state but the operation's journal, and needs no database.
package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/disk"
	"holdfast/machine"
	"holdfast/operation"
	"holdfast/vault"
)

// Vaults opens an account's vault, making it if it is the account's first use.
type Vaults interface {
	Open(ctx context.Context, account holdfast.AccountID) (*vault.Vault, error)
}

// Service is the data plane of one host. It is safe for concurrent use.
type Service struct {
	Host   *machine.Host
	Vaults Vaults
	Log    *slog.Logger
}

// points is how many points in time one backup may take before it gives up:
// the first, and two more when the first is lost.
const points = 3

// Backup is the handler of holdfast.KindBackup.
func (s *Service) Backup(ctx context.Context, run *operation.Run) (any, error) {
	var in holdfast.BackupInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	v, err := s.Vaults.Open(ctx, run.Operation.AccountID)
	if err != nil {
		return nil, explain("backup.Backup", err)
	}
	b := &attempt{Service: s, run: run, in: in, vault: v}
	for n := 1; ; n++ {
		report, err := b.once(ctx)
		if err == nil {
			return report, nil
		}
		if lost := errors.Is(err, disk.ErrPointLost) && !errors.Is(err, compute.ErrScratchExhausted); lost && n < points && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "the point in time is lost, taking another", "job", run.Operation.ID, "vps", run.Operation.VPSID, "err", err)
			if err := b.abandon(ctx); err != nil {
				return nil, explain("backup.Backup", err)
			}
			continue
		}
		return nil, b.fail(ctx, err)
	}
}

// attempt is the work of one claim of a backup.
type attempt struct {
	*Service
	run   *operation.Run
	in    holdfast.BackupInput
	vault *vault.Vault
	point *point // nil: none taken, or given up
}

// once takes or finds the point in time, moves the data and commits.
func (b *attempt) once(ctx context.Context) (holdfast.BackupReport, error) {
	id := b.run.Operation.BackupID
	if m, err := b.vault.Manifest(ctx, string(id)); err == nil {
		// A predecessor committed and died before it could say so.
		return b.settle(ctx, m)
	} else if !errors.Is(err, vault.ErrNoBackup) {
		return holdfast.BackupReport{}, err
	}
	if err := b.take(ctx); err != nil {
		return holdfast.BackupReport{}, err
	}
	m, err := b.transfer(ctx)
	if err != nil {
		return holdfast.BackupReport{}, err
	}
	return b.settle(ctx, m)
}

// settle advances change tracking to the committed backup and reports it.
func (b *attempt) settle(ctx context.Context, m vault.Manifest) (holdfast.BackupReport, error) {
	if err := b.load(); err != nil {
		return holdfast.BackupReport{}, err
	}
	if b.point != nil {
		if err := b.Host.Driver.End(ctx, b.point.Handle, compute.Committed); err != nil {
			return holdfast.BackupReport{}, fmt.Errorf("backup: end the point in time: %w", err)
		}
	}
	return report(m), nil
}

// abandon gives the point in time up, so that another can be taken.
func (b *attempt) abandon(ctx context.Context) error {
	if err := b.load(); err != nil || b.point == nil {
		return err
	}
	if err := b.Host.Driver.End(ctx, b.point.Handle, compute.Abandoned); err != nil {
		return fmt.Errorf("backup: end the point in time: %w", err)
	}
	b.point = nil
	return b.run.Save(ctx, keyPoint, (*point)(nil))
}

// cleanup bounds the work after a failure, when the operation's own context has
// ended.
const cleanup = time.Minute

// fail decides what is left behind: nothing when the backup ends here, all of
// it when a successor will go on.
func (b *attempt) fail(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(err, operation.ErrLeaseLost), errors.Is(cause, operation.ErrLeaseLost), errors.Is(cause, operation.ErrShutdown):
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	if endErr := b.abandon(ctx); endErr != nil {
		b.Log.ErrorContext(ctx, "the point in time could not be released", "job", b.run.Operation.ID, "err", endErr)
		err = errors.Join(err, endErr)
	}
	return explain("backup.Backup", err)
}
