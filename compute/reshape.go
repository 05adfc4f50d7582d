package compute

import "context"

// Reshaper changes which disks a machine has. Its methods are idempotent, and
// change tracking of the disks that they do not name goes on. Implementations
// pass computetest.TestReshaper.
type Reshaper interface {
	// Grow makes a disk larger, of a running machine too; the new part is zeros.
	// ErrState when the machine has snapshots, ErrBusy while a point in time is
	// open. A disk never shrinks.
	Grow(ctx context.Context, machine, diskName string, sizeBytes int64) error
	// AddDisk adds a disk behind the others of a stopped machine.
	AddDisk(ctx context.Context, machine string, d Disk) error
	// RemoveDisk removes a disk of a stopped machine with all that is on it. The
	// first disk, from which the machine boots, stays.
	RemoveDisk(ctx context.Context, machine, diskName string) error
}
