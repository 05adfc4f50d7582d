package compute

import (
	"context"
	"errors"
	"time"
)

// ErrNoSnapshot: the machine has no snapshot of that id.
var ErrNoSnapshot = errors.New("compute: snapshot not found")

// Snapshot is a local, copy-on-write state of all disks of a machine at one
// instant.
type Snapshot struct {
	// ID is unique on the machine, [0-9a-z]{1,32}.
	ID string `json:"id"`
	// At is the instant, by the host's clock.
	At time.Time `json:"at"`
	// Frozen: the guest's file systems were whole on the disks at that instant;
	// by the guest's own word.
	Frozen bool `json:"frozen"`
	// Bytes that the host stores for what was written since, until the next
	// snapshot or now.
	Bytes int64 `json:"bytes"`
}

// Snapshotter keeps snapshots of machines. Snapshots of a machine form a line,
// the oldest first, and belong to the generation of disks that they were taken
// of. Nothing but Snapshots may be called while a point in time of the machine is
// open: ErrBusy. A point in time may be taken of a machine with snapshots; it
// cannot be filled: ErrState. Every method finishes what a former call of it, cut
// off anywhere, has begun. Implementations pass computetest.TestSnapshotter.
type Snapshotter interface {
	// Snapshot takes one of all disks at one instant; the guest runs on. Taking
	// one that is there already returns it.
	Snapshot(ctx context.Context, machine, id string) (Snapshot, error)
	// Snapshots lists them, the oldest first.
	Snapshots(ctx context.Context, machine string) ([]Snapshot, error)
	// Rollback puts all disks of a stopped machine back to the snapshot, all or
	// none, and removes the snapshots that were taken after it. The snapshot itself
	// stays. What has changed is tracked on from a point before the snapshot, if
	// there is one. ErrState for a machine that runs.
	Rollback(ctx context.Context, machine, id string) error
	// RemoveSnapshot gives a snapshot up by writing what came after it into what
	// it was made of; the guest runs on, or the machine stays stopped. One that is
	// not there is removed already. It is off the list before its bytes are brought
	// together, which takes room: ErrNoSpace, and another call goes on. progress
	// (may be nil) gets bytes.
	RemoveSnapshot(ctx context.Context, machine, id string, progress func(done, total int64)) error
}
