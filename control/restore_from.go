package control

import (
	"context"

	"holdfast"
	"holdfast/store"
)

// RestoreSource is another VPS whose backups a VPS can be restored from.
type RestoreSource struct {
	VPS     holdfast.VPS
	Backups []holdfast.Backup // completed ones, the newest first
}

// RestoreSources lists the caller's other VPSs that have a completed backup, the
// newest first; terminated ones among them.
func (c *Control) RestoreSources(ctx context.Context, caller Caller, vps string) ([]RestoreSource, error) {
	const op = "control.RestoreSources"
	q := c.store.Queries()
	v, err := ownVPS(ctx, q, caller, vps)
	if err != nil {
		return nil, told(op, err)
	}
	backups, err := q.BackupsOfAccount(ctx, caller.Account, holdfast.BackupCompleted)
	if err != nil {
		return nil, told(op, err)
	}
	by := map[holdfast.VPSID][]holdfast.Backup{}
	for _, b := range backups {
		by[b.VPSID] = append(by[b.VPSID], b)
	}
	all, err := q.VPSOfAccount(ctx, caller.Account)
	if err != nil {
		return nil, told(op, err)
	}
	var out []RestoreSource
	for _, other := range all {
		if len(by[other.ID]) > 0 && other.ID != v.ID {
			out = append(out, RestoreSource{VPS: other, Backups: by[other.ID]})
		}
	}
	return out, nil
}

// FromVPS names the backup of another VPS.
type FromVPS struct {
	SourceVPS string
	Backup    string
}

// fromAnother is the gate of RestoreFromVPS, as far as it is the same for all
// backups.
func (f *facts) fromAnother() holdfast.Gate {
	sources := holdfast.Open
	if f.elsewhere == 0 {
		sources = holdfast.Shut(holdfast.CodeNoBackups, "No other VPS of the account has a completed backup.")
	}
	return holdfast.First(f.replace(), sources)
}

// CheckFromVPS says what is wrong with the fields of a request; vps_not_found or
// backup_not_found when there is nothing to restore, or nothing to restore it to.
func (c *Control) CheckFromVPS(ctx context.Context, caller Caller, vps string, from FromVPS) ([]holdfast.Field, error) {
	p, err := planFromVPS(ctx, c.store.Queries(), caller, vps, from)
	return p.faults, told("control.CheckFromVPS", err)
}

// fromPlan is what a restore from another VPS would do.
type fromPlan struct {
	facts  facts
	backup holdfast.Backup
	disks  []holdfast.VPSDisk
	fits   holdfast.Gate
	faults []holdfast.Field // of the request
}

func planFromVPS(ctx context.Context, q *store.Queries, caller Caller, vps string, from FromVPS) (fromPlan, error) {
	var p fromPlan
	var err error
	if p.facts, err = readFacts(ctx, q, caller, vps); err != nil || from.SourceVPS == "" {
		return p, err // what is missing is told by who has read the body
	}
	source, err := ownVPS(ctx, q, caller, from.SourceVPS)
	if err != nil || from.Backup == "" {
		return p, err
	}
	if p.backup, err = ownBackup(ctx, q, caller, source.ID, from.Backup); err != nil {
		return p, err
	}
	if source.ID == p.facts.vps.ID {
		p.faults = append(p.faults, holdfast.Field{Pointer: "/sourceVpsId", Code: holdfast.CodeSameVPS,
			Detail: "This is the VPS that is to be restored. Use POST /api/v2/vps/{id}/backups/{backupId}/actions/restore for a backup of its own."})
		return p, nil
	}
	have := p.facts.vps.StorageBytes()
	if need := sum(p.backup.Disks); need > have {
		p.faults = append(p.faults, holdfast.Field{Pointer: "/backupId", Code: holdfast.CodeStorageTooSmall,
			Detail: "The backup is larger than the storage of this VPS. Restore it to a new Cloud VM, or to a VPS with more storage."})
		return p, nil
	}
	p.disks, p.fits = disksInPlace(p.facts.vps, p.backup)
	if p.fits.Allowed && sum(p.disks) > have {
		// The source has more disks: together they take what this VPS has.
		p.disks = resized(p.backup.Disks, have)
	}
	return p, nil
}

// resized are disks of which the first is grown until all together have total
// bytes, which is not less than they have.
func resized(disks []holdfast.VPSDisk, total int64) []holdfast.VPSDisk {
	out := append([]holdfast.VPSDisk(nil), disks...)
	if len(out) > 0 {
		out[0].SizeBytes += (total - sum(disks)) / sector * sector
	}
	return out
}

// RestoreFromVPS queues the replacement of all disks of a VPS of the caller's by
// those of a backup of another one, which may be terminated. Its name, address,
// network and way to boot stay its own.
func (c *Control) RestoreFromVPS(ctx context.Context, caller Caller, vps string, from FromVPS, o *Once) (Accepted, error) {
	return c.once(ctx, "control.RestoreFromVPS", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		p, err := planFromVPS(ctx, tx.Queries(), caller, vps, from)
		if err != nil {
			return holdfast.Operation{}, err
		}
		if err := Invalid(p.faults); err != nil {
			return holdfast.Operation{}, err
		}
		if err := holdfast.First(p.facts.inPlaceOf(p.backup), p.fits).Err(); err != nil {
			return holdfast.Operation{}, err
		}
		return c.queueInPlace(ctx, tx, &p.facts, p.backup, p.disks)
	})
}
