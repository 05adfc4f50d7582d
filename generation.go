package holdfast

import (
	"strconv"
	"time"
)

// GenerationState is what becomes of a set of disks that is not in force.
type GenerationState string

// The states of a generation.
const (
	GenerationPreparing GenerationState = "preparing" // a restore in place fills it
	GenerationSafety    GenerationState = "safety"    // it can come back until it expires
	GenerationReturning GenerationState = "returning" // an undo puts it in force
	GenerationDropping  GenerationState = "dropping"  // its host removes it
)

// Generation is a set of disks of a VPS beside the one in force, which is the
// VPS's own row.
type Generation struct {
	VPSID     VPSID
	AccountID AccountID
	HostID    HostID
	Number    int
	State     GenerationState
	// What the VPS is again when these disks come back.
	Disks []VPSDisk
	OS    *OperatingSystem
	Base  BackupID
	// ExpiresAt is when a safety point is removed.
	ExpiresAt time.Time
	// DueAt is when its removal is tried at the earliest, by the database's clock
	// for leases; Error is why the last try failed, in words for the operator.
	DueAt time.Time
	Error string
}

// GenerationName is what a host calls the disks of a number.
func GenerationName(number int) string { return strconv.Itoa(number) }

// NextGeneration is a number that no disks of the VPS have had.
func (v VPS) NextGeneration() int { return max(v.Generation, v.LastGeneration) + 1 }

// UndoGate is shut when the VPS has no disks from before a restore to go back to;
// nil: it has none.
func UndoGate(safety *Generation, now time.Time) Gate {
	if safety == nil || safety.State != GenerationSafety || !now.Before(safety.ExpiresAt) {
		return Shut(CodeNothingToUndo, "There is no restore to undo: the disks from before the last one are not kept any more, or there was none. Restore an earlier backup instead.")
	}
	return Open
}
