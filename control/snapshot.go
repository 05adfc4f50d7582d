package control

import (
	"context"
	"errors"
	"time"

	"holdfast"
	"holdfast/store"
)

// SnapshotGates say which actions on the snapshots of a VPS would be accepted now.
type SnapshotGates struct{ Create, Restore holdfast.Gate }

// SnapshotItem is a snapshot in its line.
type SnapshotItem struct {
	holdfast.Snapshot

	Parent string // the name of the one before it; "": it is the first
}

// SnapshotList is all that there is to say about the snapshots of a VPS.
type SnapshotList struct {
	Snapshots []SnapshotItem // the oldest first
	Available holdfast.Gate  // of snapshots as such
	Limit     int
	Gates     SnapshotGates
}

// ListSnapshots lists the snapshots of a VPS of the caller's.
func (c *Control) ListSnapshots(ctx context.Context, caller Caller, vps string) (SnapshotList, error) {
	f, err := c.readSnapshots(ctx, c.store.Queries(), caller, vps)
	if err != nil {
		return SnapshotList{}, told("control.ListSnapshots", err)
	}
	out := SnapshotList{Available: f.available(), Limit: f.limit, Gates: SnapshotGates{Create: f.create(), Restore: f.restore()}}
	for i, s := range f.line {
		item := SnapshotItem{Snapshot: s}
		if i > 0 {
			item.Parent = f.line[i-1].Name
		}
		out.Snapshots = append(out.Snapshots, item)
	}
	return out, nil
}

// SnapshotRequest describes a new snapshot.
type SnapshotRequest struct{ Name, Description string }

// CheckSnapshot says what is wrong with the fields of a request; vps_not_found
// when the VPS is not the caller's.
func (c *Control) CheckSnapshot(ctx context.Context, caller Caller, vps string, req SnapshotRequest) ([]holdfast.Field, error) {
	return holdfast.CheckSnapshot(req.Name, req.Description), c.OwnVPS(ctx, caller, vps)
}

// CreateSnapshot queues a snapshot of a VPS of the caller's.
func (c *Control) CreateSnapshot(ctx context.Context, caller Caller, vps string, req SnapshotRequest, o *Once) (Accepted, error) {
	return c.once(ctx, "control.CreateSnapshot", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		f, err := c.readSnapshots(ctx, tx.Queries(), caller, vps)
		if err != nil {
			return holdfast.Operation{}, err
		}
		if err := Invalid(holdfast.CheckSnapshot(req.Name, req.Description)); err != nil {
			return holdfast.Operation{}, err
		}
		if err := f.create().Err(); err != nil {
			return holdfast.Operation{}, err
		}
		return queueSnapshot(ctx, tx, &f, holdfast.Snapshot{Name: req.Name, Description: req.Description})
	})
}

// queueSnapshot writes a new snapshot and queues its making.
func queueSnapshot(ctx context.Context, tx *store.Tx, f *snapshotFacts, s holdfast.Snapshot) (holdfast.Operation, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return holdfast.Operation{}, err
	}
	due, err := tx.LeaseNow(ctx)
	if err != nil {
		return holdfast.Operation{}, err
	}
	v := f.vps
	s.ID, s.AccountID, s.VPSID, s.Generation = holdfast.NewID[holdfast.SnapshotID](), v.AccountID, v.ID, v.Generation
	s.Status, s.RequestedAt, s.DueAt = holdfast.SnapshotPending, now, due
	err = tx.InsertSnapshot(ctx, s)
	if errors.Is(err, store.ErrConflict) {
		return holdfast.Operation{}, holdfast.E(holdfast.CodeSnapshotExists, "This VPS has a snapshot of that name. Choose another name, or delete the snapshot first.")
	}
	if err != nil {
		return holdfast.Operation{}, err
	}
	return enqueueSnapshot(ctx, tx, holdfast.KindSnapshotCreate, f, s)
}

func enqueueSnapshot(ctx context.Context, tx *store.Tx, kind holdfast.Kind, f *snapshotFacts, s holdfast.Snapshot) (holdfast.Operation, error) {
	in := holdfast.SnapshotInput{Snapshot: s.ID, Name: s.Name}
	if kind == holdfast.KindSnapshotRestore {
		in.Grace = defaultGrace * time.Second
		in.Runs = f.vps.Desired == holdfast.PowerRunning && f.vps.Power != holdfast.PowerStopped
	}
	return enqueue(ctx, tx, holdfast.Operation{
		Kind: kind, AccountID: f.vps.AccountID, VPSID: f.vps.ID, HostID: f.vps.HostID, KeyID: f.caller.Key, Lock: holdfast.LockData,
	}, in)
}

// RestoreSnapshot queues the rollback of a VPS of the caller's to a snapshot.
func (c *Control) RestoreSnapshot(ctx context.Context, caller Caller, vps, name string, o *Once) (Accepted, error) {
	return c.once(ctx, "control.RestoreSnapshot", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		f, s, err := c.readSnapshot(ctx, tx.Queries(), caller, vps, name)
		if err != nil {
			return holdfast.Operation{}, err
		}
		if err := f.restore().Err(); err != nil {
			return holdfast.Operation{}, err
		}
		return enqueueSnapshot(ctx, tx, holdfast.KindSnapshotRestore, &f, s)
	})
}

// DeleteSnapshot queues the deletion of a snapshot of a VPS of the caller's. It
// works with a full database, too.
func (c *Control) DeleteSnapshot(ctx context.Context, caller Caller, vps, name string) (holdfast.Operation, error) {
	var out holdfast.Operation
	err := c.urgent(ctx, "control.DeleteSnapshot", func(tx *store.Tx) error {
		f, s, err := c.readSnapshot(ctx, tx.Queries(), caller, vps, name)
		if err != nil {
			return err
		}
		if err := f.remove().Err(); err != nil {
			return err
		}
		out, err = enqueueSnapshot(ctx, tx, holdfast.KindSnapshotDelete, &f, s)
		return err
	})
	return out, err
}

// OwnSnapshot says whether the snapshot is one of a VPS of the caller's:
// vps_not_found or snapshot_not_found if not.
func (c *Control) OwnSnapshot(ctx context.Context, caller Caller, vps, name string) error {
	_, _, err := c.readSnapshot(ctx, c.store.Queries(), caller, vps, name)
	return told("control.OwnSnapshot", err)
}

// readSnapshot reads the facts and finds the snapshot of a name.
func (c *Control) readSnapshot(ctx context.Context, q *store.Queries, caller Caller, vps, name string) (snapshotFacts, holdfast.Snapshot, error) {
	f, err := c.readSnapshots(ctx, q, caller, vps)
	if err != nil {
		return f, holdfast.Snapshot{}, err
	}
	s := f.named(name)
	if s == nil {
		return f, holdfast.Snapshot{}, holdfast.E(holdfast.CodeSnapshotNotFound, "There is no such snapshot of this VPS. GET /api/v2/vps/{id}/snapshots lists them.")
	}
	return f, *s, nil
}
