package control

import (
	"context"
	"errors"

	"holdfast"
	"holdfast/store"
)

// snapshotFacts are what the gates of a VPS's snapshots look at, read in one go.
type snapshotFacts struct {
	caller  Caller
	account holdfast.Account
	vps     holdfast.VPS
	host    holdfast.Host
	hostUp  bool
	busy    *holdfast.Operation // what holds the data lock
	power   *holdfast.Operation // what holds the power lock
	line    []holdfast.Snapshot // of the disks in force, the oldest first
	limit   int
	held    int // the line, and what is still being deleted of it
}

func (c *Control) readSnapshots(ctx context.Context, q *store.Queries, caller Caller, id string) (snapshotFacts, error) {
	v, err := ownVPS(ctx, q, caller, id)
	if err != nil {
		return snapshotFacts{}, err
	}
	return factsOfSnapshots(ctx, q, caller, v, c.options.Snapshots.Limit)
}

func factsOfSnapshots(ctx context.Context, q *store.Queries, caller Caller, v holdfast.VPS, limit int) (snapshotFacts, error) {
	f := snapshotFacts{caller: caller, vps: v, limit: limit}
	var err error
	if f.account, err = q.Account(ctx, v.AccountID); err != nil {
		return f, err
	}
	if f.host, err = q.Host(ctx, v.HostID); err != nil && !errors.Is(err, store.ErrNotFound) {
		return f, err
	}
	now, err := q.Now(ctx)
	if err != nil {
		return f, err
	}
	f.hostUp = f.host.Available(now)
	if f.busy, err = holder(ctx, q, v.ID, holdfast.LockData); err != nil {
		return f, err
	}
	if f.power, err = holder(ctx, q, v.ID, holdfast.LockPower); err != nil {
		return f, err
	}
	if f.line, err = q.Snapshots(ctx, v.ID, v.Generation); err != nil {
		return f, err
	}
	f.held, err = q.CountSnapshots(ctx, v.ID, v.Generation)
	return f, err
}

// available is shut where there can be no snapshots at all.
func (f *snapshotFacts) available() holdfast.Gate {
	if !f.host.Snapshots {
		return holdfast.Shut(holdfast.CodeSnapshotsUnavailable, "The host of this VPS keeps no snapshots. Make a backup instead.")
	}
	return holdfast.Open
}

// create is the gate of CreateSnapshot.
func (f *snapshotFacts) create() holdfast.Gate {
	return holdfast.First(holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM), f.take())
}

// take is create for the service itself, which needs no scope.
func (f *snapshotFacts) take() holdfast.Gate {
	return holdfast.First(accountGate(f.account), holdfast.ServiceGate(f.vps), f.available(),
		holdfast.BusyGate(f.busy), holdfast.SnapshotLimitGate(f.held, f.limit), holdfast.HostGate(f.hostUp))
}

// restore is the gate of RestoreSnapshot. It stops and starts the VPS itself, so it
// waits for power actions.
func (f *snapshotFacts) restore() holdfast.Gate {
	some := holdfast.Open
	if len(f.line) == 0 {
		some = holdfast.Shut(holdfast.CodeSnapshotNotFound, "This VPS has no snapshot to roll back to.")
	}
	return holdfast.First(holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM), some,
		accountGate(f.account), holdfast.ServiceGate(f.vps), f.available(),
		holdfast.BusyGate(f.busy), holdfast.BusyGate(f.power), holdfast.HostGate(f.hostUp))
}

// remove is the gate of DeleteSnapshot. It asks for little: deleting frees space.
func (f *snapshotFacts) remove() holdfast.Gate {
	return holdfast.First(holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM),
		holdfast.BusyGate(f.busy), holdfast.HostGate(f.hostUp))
}

// schedule is the gate of enabling a schedule.
func (f *snapshotFacts) schedule() holdfast.Gate {
	return holdfast.First(holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeWriteVM),
		accountGate(f.account), holdfast.ServiceGate(f.vps), f.available())
}
