package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"holdfast"
	"holdfast/store"
)

// BackupGates say which actions on the backups of a VPS would be accepted now.
type BackupGates struct {
	Create, Restore, RestoreFromAnotherVPS, RestoreInPlace, RestoreToPayg, Delete holdfast.Gate
}

// BackupList is all that there is to say about the backups of a VPS.
type BackupList struct {
	Backups []holdfast.Backup // running and completed ones, the newest first
	Quota   holdfast.Quota
	Gates   BackupGates
}

// ListBackups lists the backups of a VPS of the caller's.
func (c *Control) ListBackups(ctx context.Context, caller Caller, vps string) (BackupList, error) {
	const op = "control.ListBackups"
	q := c.store.Queries()
	f, err := readFacts(ctx, q, caller, vps)
	if err != nil {
		return BackupList{}, told(op, err)
	}
	backups, err := q.BackupsOfVPS(ctx, f.vps.ID, holdfast.BackupPending, holdfast.BackupCompleted)
	if err != nil {
		return BackupList{}, told(op, err)
	}
	return BackupList{Backups: backups, Quota: f.quota, Gates: BackupGates{
		Create: f.create(), Restore: f.restore(),
		RestoreFromAnotherVPS: f.fromAnother(), RestoreInPlace: f.inPlace(),
		RestoreToPayg: f.toPayg(c.options.PaygRange), Delete: f.delete(len(backups)),
	}}, nil
}

// CheckNote says what is wrong with the note of a backup.
func (c *Control) CheckNote(note string) []holdfast.Field {
	if utf8.RuneCountInString(note) <= c.options.BackupNoteMax {
		return nil
	}
	return []holdfast.Field{{Pointer: "/note", Code: holdfast.CodeInvalidValue,
		Detail: fmt.Sprintf("The note may have at most %d characters.", c.options.BackupNoteMax)}}
}

// CreateBackup queues a backup of a VPS of the caller's and takes its slot.
func (c *Control) CreateBackup(ctx context.Context, caller Caller, vps, note string, o *Once) (Accepted, error) {
	return c.once(ctx, "control.CreateBackup", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		f, err := readFacts(ctx, tx.Queries(), caller, vps)
		if err != nil {
			return holdfast.Operation{}, err
		}
		if err := Invalid(c.CheckNote(note)); err != nil {
			return holdfast.Operation{}, err
		}
		if err := f.create().Err(); err != nil {
			return holdfast.Operation{}, err
		}
		return c.queueBackup(ctx, tx, &f, note)
	})
}

func (c *Control) queueBackup(ctx context.Context, tx *store.Tx, f *facts, note string) (holdfast.Operation, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return holdfast.Operation{}, err
	}
	v := f.vps
	b := holdfast.Backup{
		ID: holdfast.NewID[holdfast.BackupID](), AccountID: v.AccountID, VPSID: v.ID, Status: holdfast.BackupPending,
		Type: "manual", Note: note, Site: c.options.Site, RequestedAt: now, Generation: v.Generation,
		SizeBytes: v.StorageBytes(),
		CPUCores:  v.CPUCores, MemoryMiB: v.MemoryMiB, Disks: v.Disks, Boot: v.Boot, OS: v.OS,
	}
	base, err := baseOf(ctx, tx.Queries(), v)
	if err != nil {
		return holdfast.Operation{}, err
	}
	if err := tx.InsertBackup(ctx, b); err != nil {
		return holdfast.Operation{}, err
	}
	return enqueue(ctx, tx, holdfast.Operation{
		Kind: holdfast.KindBackup, AccountID: v.AccountID, VPSID: v.ID, BackupID: b.ID, HostID: v.HostID,
		KeyID: f.caller.Key, Lock: holdfast.LockData, CreatedAt: now,
	}, backupInput(v, f.completed, base))
}

// maxParents bounds how many earlier points a driver is asked to look for.
const maxParents = 16

// baseOf is the backup that the disks in force were restored from, nil if they
// were not, or it is not there any more. It may be of another VPS.
func baseOf(ctx context.Context, q *store.Queries, v holdfast.VPS) (*holdfast.Backup, error) {
	if v.Base == "" {
		return nil, nil
	}
	b, err := q.Backup(ctx, v.Base)
	if errors.Is(err, store.ErrNotFound) || err == nil && (b.Status != holdfast.BackupCompleted || b.AccountID != v.AccountID) {
		return nil, nil
	}
	return &b, err
}

// backupInput names the earlier backups that a new one may build on: those of the
// disks in force, and the one that these were restored from. Which of them it is,
// the disks' change tracking says.
func backupInput(v holdfast.VPS, completed []holdfast.Backup, base *holdfast.Backup) holdfast.BackupInput {
	in := holdfast.BackupInput{Disks: v.Disks, Generation: v.Generation}
	for i, b := range completed {
		if i == 0 {
			in.Earlier = b.ID
		}
		if b.Generation == v.Generation && b.Point != "" && len(in.Parents) < maxParents {
			in.Parents = append(in.Parents, holdfast.ParentBackup{ID: b.ID, Point: b.Point})
		}
	}
	if base != nil && base.Point != "" {
		in.Parents = append(in.Parents, holdfast.ParentBackup{ID: base.ID, Point: base.Point})
		if in.Earlier == "" {
			in.Earlier = base.ID
		}
	}
	return in
}

// enqueue writes a new operation; one that its lock forbids is told as the gate
// would have told it.
func enqueue(ctx context.Context, tx *store.Tx, o holdfast.Operation, input any) (holdfast.Operation, error) {
	raw, err := json.Marshal(input)
	if err != nil {
		return holdfast.Operation{}, err
	}
	o.ID, o.Status, o.Input = holdfast.NewID[holdfast.JobID](), holdfast.OperationQueued, raw
	err = tx.InsertOperation(ctx, o)
	if errors.Is(err, store.ErrConflict) {
		return holdfast.Operation{}, holdfast.Wrap(holdfast.CodeOperationInProgress, "control.enqueue", "Another operation is running on this VPS. Wait until it has ended.", err)
	}
	return o, err
}

// holder is the operation that holds a lock of a VPS, nil if none does.
func holder(ctx context.Context, q *store.Queries, vps holdfast.VPSID, lock holdfast.Lock) (*holdfast.Operation, error) {
	o, err := q.ActiveOperation(ctx, vps, lock)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return inTheWay(ctx, q, o, err)
}

// inTheWay is an operation that others wait for, and whether it can be cancelled.
func inTheWay(ctx context.Context, q *store.Queries, o holdfast.Operation, err error) (*holdfast.Operation, error) {
	if err != nil {
		return nil, err
	}
	g, err := cancelGate(ctx, q, o)
	o.Cancellable = g.Allowed
	return &o, err
}
