package control

import (
	"context"
	"errors"
	"time"

	"holdfast"
	"holdfast/store"
)

const noSuchBackup = "There is no such backup of this VPS. GET /api/v2/vps/{id}/backups lists them."

// DeleteBackup ends a backup of a VPS of the caller's: at once for the customer,
// while an operation frees its space. It works on a full disk, for it is the way
// out of one.
func (c *Control) DeleteBackup(ctx context.Context, caller Caller, vps, backup string) error {
	return c.urgent(ctx, "control.DeleteBackup", func(tx *store.Tx) error {
		q := tx.Queries()
		v, err := ownVPS(ctx, q, caller, vps)
		if err != nil {
			return err
		}
		b, err := ownBackup(ctx, q, caller, v.ID, backup)
		if err != nil {
			return err
		}
		pin, err := pinnedBy(ctx, q, b.ID)
		if err != nil {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		if err := holdfast.First(holdfast.ScopeGate(caller.Scopes, holdfast.ScopeBackupVM), deleteGate(b, pin, now)).Err(); err != nil {
			return err
		}
		if err := tx.SetBackupStatus(ctx, b.ID, b.Status, holdfast.BackupDeleted); err != nil {
			return err
		}
		_, err = enqueue(ctx, tx, holdfast.Operation{
			Kind: holdfast.KindBackupDelete, AccountID: b.AccountID, VPSID: b.VPSID, BackupID: b.ID,
			HostID: v.HostID, KeyID: caller.Key,
		}, struct{}{})
		return err
	})
}

// deleteGate is the gate of deleting one backup.
func deleteGate(b holdfast.Backup, pin *holdfast.Operation, now time.Time) holdfast.Gate {
	if b.LockedUntil.After(now) {
		until := b.LockedUntil.UTC().Format(time.RFC3339)
		g := holdfast.Shut(holdfast.CodeBackupLocked, "The backup is locked: nobody can delete it before "+until+".")
		g.Extensions = map[string]any{"lockedUntil": until}
		return g
	}
	if b.Protected {
		return holdfast.Shut(holdfast.CodeBackupProtected, "The backup is protected. Lift the protection first.")
	}
	if pin == nil {
		return holdfast.Open
	}
	g := holdfast.BusyGate(pin)
	g.Reason = "The backup is in use. Wait until job " + pin.ID.String() + " has ended."
	return g
}

// pinnedBy is the operation that makes or reads a backup, nil if there is none.
func pinnedBy(ctx context.Context, q *store.Queries, id holdfast.BackupID) (*holdfast.Operation, error) {
	o, err := q.OperationOnBackup(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return inTheWay(ctx, q, o, err)
}

// ownBackup finds a backup of a VPS that is the caller's; one that is deleted
// does not exist.
func ownBackup(ctx context.Context, q *store.Queries, caller Caller, vps holdfast.VPSID, id string) (holdfast.Backup, error) {
	none := holdfast.E(holdfast.CodeBackupNotFound, noSuchBackup)
	backup, err := holdfast.ParseID[holdfast.BackupID](id)
	if err != nil {
		return holdfast.Backup{}, none
	}
	b, err := q.BackupOf(ctx, caller.Account, vps, backup)
	if err != nil {
		return holdfast.Backup{}, missing(err, holdfast.CodeBackupNotFound, noSuchBackup)
	}
	if b.Status == holdfast.BackupDeleted {
		return holdfast.Backup{}, none
	}
	return b, nil
}
