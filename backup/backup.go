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

	"holdfast"
	"holdfast/compute"
	"holdfast/disk"
	"holdfast/internal/fault"
	"holdfast/machine"
	"holdfast/operation"
	"holdfast/vault"
)

// Service is the data plane of one host. It is safe for concurrent use.
type Service struct {
	Host   *machine.Host
	Vaults Vaults
	Log    *slog.Logger
	// Limits of each backup.
	Limits Limits
	// Sample is the share of a disk, 0 to 1, that is read in an incremental backup
	// to prove what change tracking calls unchanged; 0 for none.
	Sample float64
}

// points is how many points in time one claim of a backup may take before it
// gives up: the first, and two more when the first is lost.
const points = 3

// Backup is the handler of holdfast.KindBackup.
func (s *Service) Backup(ctx context.Context, run *operation.Run) (any, error) {
	b := &attempt{Service: s, run: run, meter: &meter{run: run}}
	report, err := b.work(ctx)
	if err != nil {
		return b.fail(ctx, err)
	}
	return report, nil
}

// attempt is the work of one claim of a backup.
type attempt struct {
	*Service

	run   *operation.Run
	meter *meter
	in    holdfast.BackupInput
	vault *vault.Vault
	point *point // nil: none taken, or given up
}

// work takes points in time until one holds to the commit.
func (b *attempt) work(ctx context.Context) (holdfast.BackupReport, error) {
	if err := b.run.Input(&b.in); err != nil {
		return holdfast.BackupReport{}, err
	}
	var err error
	if b.vault, err = b.Vaults.Open(ctx, b.run.Operation.AccountID); err != nil {
		return holdfast.BackupReport{}, fmt.Errorf("backup: open the vault: %w", err)
	}
	for lost := 0; ; {
		report, err := b.once(ctx)
		switch {
		case err == nil:
			return report, nil
		case ctx.Err() != nil:
			return report, err
		case untracked(err):
			// It cannot happen again: from now on there is no parent.
			if err := b.readWhole(ctx, err); err != nil {
				return report, err
			}
		case errors.Is(err, compute.ErrScratchExhausted):
			again, serr := b.slower(ctx)
			if serr != nil || !again {
				return report, errors.Join(err, serr)
			}
		case errors.Is(err, disk.ErrPointLost) && lost+1 < points:
			lost++
		default:
			return report, err
		}
		b.Log.WarnContext(ctx, "the point in time cannot be used, taking another", "job", b.run.Operation.ID, "vps", b.run.Operation.VPSID, "err", err)
		if err := b.abandon(ctx); err != nil {
			return report, err
		}
	}
}

// once takes or finds the point in time, moves the data and commits.
func (b *attempt) once(ctx context.Context) (holdfast.BackupReport, error) {
	m, found, err := b.committed(ctx)
	if err != nil {
		return holdfast.BackupReport{}, err
	}
	if !found {
		if err := b.take(ctx); err != nil {
			return holdfast.BackupReport{}, err
		}
		if m, err = b.transfer(ctx); err != nil {
			return holdfast.BackupReport{}, err
		}
		fault.At("backup.committed")
	}
	return b.settle(m)
}

// committed finds the manifest that this claim or a predecessor has committed,
// though nobody was told of it any more.
func (b *attempt) committed(ctx context.Context) (m vault.Manifest, found bool, err error) {
	m, err = b.vault.Adopt(ctx, string(b.run.Operation.BackupID))
	if errors.Is(err, vault.ErrNoBackup) {
		return m, false, nil
	}
	if vault.IsDamage(err) {
		err = errManifest(err)
	}
	return m, err == nil, err
}

// settle advances change tracking to the committed backup and reports it. No
// cancel and no shutdown can undo the commit, so they do not stop it.
func (b *attempt) settle(m vault.Manifest) (holdfast.BackupReport, error) {
	ctx, cancel := context.WithTimeout(b.run.Held(), cleanup)
	defer cancel()
	if err := b.load(); err != nil {
		return holdfast.BackupReport{}, err
	}
	if b.point != nil {
		if err := b.Host.Driver.End(ctx, b.point.Handle, compute.Committed); err != nil {
			return holdfast.BackupReport{}, fmt.Errorf("backup: end the point in time: %w", err)
		}
	}
	// The vault ends a session by itself unless the commit's answer was lost. A mark
	// that stays is no harm but to a collector, which it keeps waiting.
	if err := b.vault.Abandon(ctx, b.session()); err != nil {
		b.Log.WarnContext(ctx, "the vault's session could not be ended", "job", b.run.Operation.ID, "err", err)
	}
	return reportOf(m, b.vault.Params().ChunkSize), nil
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
