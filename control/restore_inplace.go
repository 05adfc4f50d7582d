package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast"
	"holdfast/store"
)

// RestorePolicy says how restores in place go.
type RestorePolicy struct {
	// UndoFor is how long the disks from before are kept to come back; default 24 h.
	UndoFor time.Duration
	// Grace is how long a guest may take to power off by itself before it is ended
	// by force; default 60 s.
	Grace time.Duration
}

func (p RestorePolicy) withDefaults() RestorePolicy {
	if p.UndoFor == 0 {
		p.UndoFor = 24 * time.Hour
	}
	if p.Grace == 0 {
		p.Grace = defaultGrace * time.Second
	}
	return p
}

// inPlace is the gate of RestoreInPlace, as far as it is the same for all backups.
func (f *facts) inPlace() holdfast.Gate {
	return holdfast.First(f.restore(), f.replace())
}

// replace is shut for the reasons that everything that replaces the VPS's disks
// has in common.
func (f *facts) replace() holdfast.Gate {
	busy := f.busy
	if busy == nil {
		busy = f.power
	}
	return holdfast.First(
		holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM), accountGate(f.account),
		holdfast.ServiceGate(f.vps), holdfast.BusyGate(busy), holdfast.HostGate(f.hostUp))
}

// RestoreInPlace queues the replacement of all disks of a VPS of the caller's by
// those of one of its backups.
func (c *Control) RestoreInPlace(ctx context.Context, caller Caller, vps, backup string, o *Once) (Accepted, error) {
	return c.once(ctx, "control.RestoreInPlace", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		q := tx.Queries()
		f, err := readFacts(ctx, q, caller, vps)
		if err != nil {
			return holdfast.Operation{}, err
		}
		b, err := ownBackup(ctx, q, caller, f.vps.ID, backup)
		if err != nil {
			return holdfast.Operation{}, err
		}
		disks, fits := disksInPlace(f.vps, b)
		if err := holdfast.First(f.inPlaceOf(b), fits).Err(); err != nil {
			return holdfast.Operation{}, err
		}
		return c.queueInPlace(ctx, tx, &f, b, disks)
	})
}

// OwnBackup says whether the backup is one of the caller's VPS: vps_not_found or
// backup_not_found if not.
func (c *Control) OwnBackup(ctx context.Context, caller Caller, vps, backup string) error {
	q := c.store.Queries()
	v, err := ownVPS(ctx, q, caller, vps)
	if err == nil {
		_, err = ownBackup(ctx, q, caller, v.ID, backup)
	}
	return told("control.OwnBackup", err)
}

// inPlaceOf is the gate for one backup.
func (f *facts) inPlaceOf(b holdfast.Backup) holdfast.Gate {
	restorable := holdfast.Open
	if b.Status != holdfast.BackupCompleted {
		restorable = holdfast.Shut(holdfast.CodeBackupNotRestorable, "This backup is not completed, so it cannot be restored. Choose a completed one.")
	}
	return holdfast.First(f.replace(), restorable, f.room(b))
}

// spare is how many bytes of a host a restore leaves free at least.
const spare = 64 << 20

// room is shut when the host is known to have too little space for the disks of a
// backup beside those in force. The host looks again before it writes.
func (f *facts) room(b holdfast.Backup) holdfast.Gate {
	need := b.DataBytes + spare
	if b.DataBytes == 0 || f.roomBytes == 0 || need <= f.roomBytes {
		return holdfast.Open
	}
	return holdfast.Shut(holdfast.CodeHostDiskFull, fmt.Sprintf("The host of this VPS has room for %.1f GiB, and a restore in place needs %.1f GiB beside the disks that the VPS has now. Ask the operator to free space, or restore the backup to a new Cloud VM.",
		SizeGb(f.roomBytes), SizeGb(need)))
}

// disksInPlace are those of the backup; each is at least as large as the VPS's of
// its name is now.
func disksInPlace(v holdfast.VPS, b holdfast.Backup) ([]holdfast.VPSDisk, holdfast.Gate) {
	out := slices.Clone(b.Disks)
	for _, have := range v.Disks {
		i := slices.IndexFunc(out, func(d holdfast.VPSDisk) bool { return d.Name == have.Name })
		if i < 0 {
			return nil, holdfast.Shut(holdfast.CodeBackupNotRestorable, "The VPS has a disk \""+have.Name+
				"\" that this backup does not have, and a restore in place would take it away. Restore the backup to a new Cloud VM instead, or have the disk removed first.")
		}
		out[i].SizeBytes = max(out[i].SizeBytes, have.SizeBytes)
	}
	return out, holdfast.Open
}

// queueInPlace queues the restore of a backup, which may be of another VPS, in
// place.
func (c *Control) queueInPlace(ctx context.Context, tx *store.Tx, f *facts, b holdfast.Backup, disks []holdfast.VPSDisk) (holdfast.Operation, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return holdfast.Operation{}, err
	}
	v := f.vps
	g := holdfast.Generation{
		VPSID: v.ID, AccountID: v.AccountID, HostID: v.HostID, Number: v.NextGeneration(), State: holdfast.GenerationPreparing,
		Disks: disks, OS: b.OS, Base: b.ID,
	}
	if err := tx.InsertGeneration(ctx, g); err != nil {
		return holdfast.Operation{}, err
	}
	v.LastGeneration = g.Number
	if err := tx.SetVPSGeneration(ctx, v); err != nil {
		return holdfast.Operation{}, err
	}
	return enqueue(ctx, tx, holdfast.Operation{
		Kind: holdfast.KindRestoreInPlace, AccountID: v.AccountID, VPSID: v.ID, BackupID: b.ID, HostID: v.HostID,
		KeyID: f.caller.Key, Lock: holdfast.LockData, CreatedAt: now,
	}, holdfast.InPlaceInput{
		Generation: holdfast.GenerationName(g.Number), Disks: disks, Point: b.Point, Grace: c.options.Restore.Grace,
	})
}

// UndoRestore queues the return of the disks that a VPS of the caller's had before
// its last restore in place.
func (c *Control) UndoRestore(ctx context.Context, caller Caller, vps string, o *Once) (Accepted, error) {
	return c.once(ctx, "control.UndoRestore", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		f, err := readFacts(ctx, tx.Queries(), caller, vps)
		if err != nil {
			return holdfast.Operation{}, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return holdfast.Operation{}, err
		}
		safety, err := safetyOf(ctx, tx.Queries(), f.vps.ID)
		if err != nil {
			return holdfast.Operation{}, err
		}
		if err := holdfast.First(f.replace(), holdfast.UndoGate(safety, now)).Err(); err != nil {
			return holdfast.Operation{}, err
		}
		if err := tx.SetGeneration(ctx, f.vps.ID, safety.Number, holdfast.GenerationSafety, holdfast.GenerationReturning); err != nil {
			return holdfast.Operation{}, err
		}
		return enqueue(ctx, tx, holdfast.Operation{
			Kind: holdfast.KindRestoreUndo, AccountID: f.vps.AccountID, VPSID: f.vps.ID, HostID: f.vps.HostID,
			KeyID: caller.Key, Lock: holdfast.LockData, CreatedAt: now,
		}, holdfast.UndoInput{Generation: holdfast.GenerationName(safety.Number), Grace: c.options.Restore.Grace})
	})
}

// safetyOf is the safety point of a VPS, nil if it has none.
func safetyOf(ctx context.Context, q *store.Queries, vps holdfast.VPSID) (*holdfast.Generation, error) {
	g, err := q.Safety(ctx, vps)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return &g, err
}
