package compute

import (
	"context"
	"errors"

	"holdfast/disk"
)

// ErrNoGeneration: the machine has no generation of that name.
var ErrNoGeneration = errors.New("compute: generation not found")

// FirstGeneration is the name of the disks that a machine is defined with.
const FirstGeneration = "1"

// Generation is a whole set of disks of a machine, with their snapshots and
// change tracking. One of them is in force.
type Generation struct {
	// Name is unique on the machine, [0-9a-z]{1,32}; that of a machine just
	// defined is FirstGeneration.
	Name    string `json:"name"`
	Current bool   `json:"current"`
	// Ready: it was in force once, or Ready was called for it.
	Ready bool   `json:"ready"`
	Disks []Disk `json:"disks"`
	// Bytes that the host stores for it.
	Bytes int64 `json:"bytes"`
}

// Regenerator replaces all disks of a machine at once, so that it has the old
// ones or the new ones and never a mixture, whatever dies when. All methods are
// idempotent; a generation or disk that is not there is ErrNoGeneration.
// Implementations pass computetest.TestRegenerator.
type Regenerator interface {
	// Generations lists the machine's, in no order.
	Generations(ctx context.Context, machine string) ([]Generation, error)
	// Prepare makes a generation of zeros beside the one in force; the machine may
	// run. One that is there already, of the same disks, stays as it is; of other
	// disks it is ErrState. ErrNoSpace.
	Prepare(ctx context.Context, machine, generation string, disks []Disk) error
	// FillGeneration opens a disk of a generation that is not ready for writing, as
	// Provisioner.Fill does, while the machine runs, starts and stops as it likes.
	// A generation that is ready is ErrState.
	FillGeneration(ctx context.Context, machine, generation, diskName string) (disk.Sink, error)
	// OpenGeneration opens a disk of a generation that is not in force for reading,
	// to verify it; that ends a Sink of the same disk. ErrState for the generation
	// in force.
	OpenGeneration(ctx context.Context, machine, generation, diskName string) (disk.Source, error)
	// Ready ends the filling: everything is durable, and change tracking of each
	// disk begins with the point at[disk name], if it names one: the disk is that
	// point's, as far as that reaches, and zeros behind it.
	Ready(ctx context.Context, machine, generation string, at map[string]Point) error
	// Switch puts a ready generation in force; ErrState for one that is not ready,
	// and for a machine that runs. A point in time of the stopped machine is ended
	// first, as by Start. What the guest had in force before stays a generation.
	Switch(ctx context.Context, machine, generation string) error
	// Drop removes a generation that is not in force: ErrState for the one that is.
	// One that is not there is removed already.
	Drop(ctx context.Context, machine, generation string) error
	// Room is how many bytes are free where the machine's disks lie.
	Room(ctx context.Context, machine string) (int64, error)
}
