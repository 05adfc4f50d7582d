package compute

import "context"

// Reshaper changes which disks a machine has, in the generation of disks that is
// in force. Its methods are idempotent: a call that was cut off anywhere has left
// the machine as it was, or as it is to be, and is repeated. Change tracking of
// the disks that they do not name goes on.
//
// All are ErrState when the machine has snapshots, which are of the disks as they
// were, and ErrBusy while a point in time is open.
// Implementations pass computetest.TestReshaper.
type Reshaper interface {
	// Grow makes a disk larger, of a running machine too; the new part is zeros.
	// Its change tracking goes on: relative to a point before, what was not written
	// of the new part is clean, and zeros. A disk never shrinks: ErrState.
	Grow(ctx context.Context, machine, diskName string, sizeBytes int64) error
	// AddDisk adds a disk behind the others of a stopped machine, with no change
	// tracking. Adding one that is there already, of the same size, succeeds; of
	// another size it is ErrState, as it is when the machine runs.
	AddDisk(ctx context.Context, machine string, d Disk) error
	// RemoveDisk removes a disk of a stopped machine with all that is on it;
	// ErrState when the machine runs, or for the first disk, from which it boots.
	// One that is not there is removed already.
	RemoveDisk(ctx context.Context, machine, diskName string) error
}
