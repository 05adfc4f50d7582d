// Package compute is the seam to hypervisors: a Driver takes a point in time
// over all disks of a machine and opens each disk of it for reading; a
// Provisioner defines, starts, stops and deletes machines.
//
// A Driver is used by one runner at a time for one machine (it holds an
// exclusive flock per machine for every conversation with the hypervisor), and
// by many for different machines. Every method honours its context.
package compute

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"holdfast/disk"
)

var (
	// ErrNotFound: the machine is not defined on this host.
	ErrNotFound = errors.New("compute: machine not found")
	// ErrPointLost: the point in time behind a Handle no longer exists; a new
	// one has to be taken. The same value as disk.ErrPointLost.
	ErrPointLost = disk.ErrPointLost
	// ErrScratchExhausted: the copy-before-write scratch area is full, so the
	// point in time was given up and the guest runs on.
	ErrScratchExhausted = errors.New("compute: scratch space exhausted")
	// ErrNoSpace: the place of the machine's disks is full.
	ErrNoSpace = disk.ErrNoSpace
	// ErrState: the machine is in a power state in which this cannot be done.
	ErrState = errors.New("compute: machine is in the wrong power state")
	// ErrBusy: another conversation with this machine is under way.
	ErrBusy = errors.New("compute: machine is busy")
)

// Capabilities say what a host's driver can do. They are probed, not derived
// from version numbers.
type Capabilities struct {
	Driver      string `json:"driver"`
	Version     string `json:"version"`
	Accelerator string `json:"accelerator"`
	// LivePoint: a point in time of a running machine.
	LivePoint bool `json:"livePoint"`
	// ChangeTracking: incremental backups by dirty bitmaps.
	ChangeTracking bool `json:"changeTracking"`
}

// PowerState of a machine; the values are those of the wire.
type PowerState string

// The power states a driver reports.
const (
	Running PowerState = "running"
	Stopped PowerState = "stopped"
	Paused  PowerState = "paused"
	Unknown PowerState = "unknown"
)

// State is what Inspect finds.
type State struct {
	Power PowerState
	// PID of the hypervisor process, 0 when there is none.
	PID int
	// PoweredOff: the machine is stopped because its guest powered itself off. One
	// that was killed, or went down with its host, did not.
	PoweredOff bool
	// Started is when that process started.
	Started time.Time
	// Forwards are the forwarded ports of its definition; a stopped machine
	// keeps them.
	Forwards []Forward
}

// Point names a point in time: `<backup ULID>.<attempt>`, at most 64 of
// [0-9a-z.]. Change tracking that begins with a point carries its name.
type Point string

// PointRequest asks for one point in time over all disks of a machine.
type PointRequest struct {
	Machine string // the machine's id
	Point   Point  // the name of the new point
	// Parents are the points whose backups are committed and still exist, the
	// newest first. The driver uses for each disk the one that its surviving
	// change tracking names, and none if there is none.
	Parents []Point
	// WriteBytesPerSecond limits what the guest writes to all its disks together
	// until the point ends, or the process that began it; 0 is no limit. A
	// machine that does not run is not limited, and its Handle says so.
	WriteBytesPerSecond int64
}

// Handle is what is needed to find a point in time again after a crash. State
// is opaque, and versioned by the driver.
type Handle struct {
	Version int          `json:"version"`
	Driver  string       `json:"driver"`
	Machine string       `json:"machine"`
	Point   Point        `json:"point"`
	Disks   []HandleDisk `json:"disks"`
	// Frozen: the guest's file systems were frozen, and so whole on the disks,
	// at the point in time; by the guest's own word.
	Frozen bool `json:"frozen,omitempty"`
	// NotFrozen says why a guest that ran was not: for people, in part the
	// guest's words, at most 512 bytes. It is "" for one that did not run.
	NotFrozen string `json:"notFrozen,omitempty"`
	// WriteBytesPerSecond is the limit that the guest writes under; 0 is none.
	WriteBytesPerSecond int64           `json:"writeBytesPerSecond,omitempty"`
	State               json.RawMessage `json:"state,omitempty"`
}

// HandleDisk is one disk of a Handle.
type HandleDisk struct {
	Name      string `json:"name"`
	SizeBytes int64  `json:"sizeBytes"`
	// Parent is the point that the disk's extents are relative to, "" when the
	// disk has to be read whole.
	Parent Point `json:"parent,omitempty"`
	// ParentLost says why Parent is "" although Parents were given.
	ParentLost string `json:"parentLost,omitempty"`
}

// Outcome tells End what became of the backup.
type Outcome int

const (
	// Abandoned: no backup was committed; change tracking goes back to the
	// parent with what changed since.
	Abandoned Outcome = iota
	// Committed: the backup is durable; change tracking advances to it.
	Committed
)

// Driver takes and serves points in time. Implementations pass
// computetest.TestDriver.
type Driver interface {
	// Probe says what this host can do.
	Probe(ctx context.Context) (Capabilities, error)
	// Inspect says how a machine is: ErrNotFound for one that is not defined.
	Inspect(ctx context.Context, machine string) (State, error)
	// Begin takes the point in time. It calls save with every version of the
	// Handle before the acts that it describes, and gives up if save fails. A
	// failed Begin leaves nothing behind. A machine that is stopped or paused
	// stays so.
	Begin(ctx context.Context, req PointRequest, save func(Handle) error) (Handle, error)
	// Open opens one disk of the point in time. Several may be open at once.
	Open(ctx context.Context, h Handle, diskName string) (disk.Source, error)
	// Recover proves, disk by disk, that the point in time is still whole and
	// of the same hypervisor process: nil, or ErrPointLost. It is called by a
	// successor before it reads on, and by everyone before a manifest is
	// written.
	Recover(ctx context.Context, h Handle) error
	// Latency counts the guest's writes by how long they took: those between the
	// point in time before and this one, and those since. Both are empty when
	// nobody measured, as of a machine that does not run.
	Latency(ctx context.Context, h Handle) (before, during Latency, err error)
	// End releases the point in time and everything named after it, and settles
	// change tracking by the outcome. It is idempotent and works on a Handle
	// whose Begin was cut off anywhere, and whose point is lost.
	End(ctx context.Context, h Handle, outcome Outcome) error
}
