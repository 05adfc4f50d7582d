package holdfast

import (
	"math"
	"regexp"
	"time"
	"unicode/utf8"
)

// SnapshotStatus is how far a snapshot has come.
type SnapshotStatus string

// The states of a snapshot. Only a completed one can be rolled back to; one that
// is deleting is gone for its customer, and of its host it is not yet known.
const (
	SnapshotPending   SnapshotStatus = "pending"
	SnapshotCompleted SnapshotStatus = "completed"
	SnapshotDeleting  SnapshotStatus = "deleting"
)

// Snapshot is a local, short-lived, copy-on-write state of all disks of a VPS at
// one instant. The snapshots of a VPS form a line.
type Snapshot struct {
	ID        SnapshotID
	AccountID AccountID
	VPSID     VPSID
	// Generation of the VPS's disks that it was taken of. While another one is in
	// force the snapshot does not exist for anybody.
	Generation int
	// Position in the line: what was taken later has a larger one.
	Position    int64
	Name        string // its id on the wire
	Description string
	Status      SnapshotStatus
	Scheduled   bool
	RequestedAt time.Time
	// TakenAt is the instant of its data, ExpiresAt when it is deleted; zero until
	// it is completed.
	TakenAt   time.Time
	ExpiresAt time.Time
	Frozen    bool // the file systems were whole, by the guest's own word
	// Error is why its last deletion failed, in words for the operator; "" when it
	// has not.
	Error string
	// DueAt is when it is deleted at the earliest once it has to be, by the
	// database's clock for leases.
	DueAt time.Time
}

// SnapshotSchedule has snapshots of a VPS taken by themselves.
type SnapshotSchedule struct {
	VPSID         VPSID
	AccountID     AccountID
	Enabled       bool
	IntervalHours int
	LastAt        time.Time // of its last snapshot; zero: none yet
	NextAt        time.Time
	// DueAt is when it is looked at again at the earliest, by the database's clock
	// for leases.
	DueAt time.Time
}

// The bounds of a schedule's interval in hours.
const (
	MinSnapshotInterval = 4
	MaxSnapshotInterval = 24
)

// SnapshotInterval is the interval in hours that is meant by the one asked for.
func SnapshotInterval(hours float64) int {
	return int(math.Floor(min(max(hours, MinSnapshotInterval), MaxSnapshotInterval)))
}

// SnapshotAhead is how far ahead the next snapshot of a schedule can lie. One that
// lies further ahead was planned before the clock was set back.
const SnapshotAhead = (MaxSnapshotInterval + 1) * time.Hour

// Due says whether a snapshot is to be taken now.
func (s SnapshotSchedule) Due(now time.Time) bool {
	ahead := s.NextAt.Sub(now)
	return s.Enabled && (ahead <= 0 || ahead > SnapshotAhead)
}

// After is when the next snapshot is to be taken once one was taken now: in the
// schedule's own rhythm, whatever was missed.
func (s SnapshotSchedule) After(now time.Time) time.Time {
	every := time.Duration(s.IntervalHours) * time.Hour
	if late := now.Sub(s.NextAt); late >= 0 {
		return s.NextAt.Add(late.Truncate(every) + every)
	}
	return now.Add(every)
}

// maxSnapshotWords is how long a snapshot's description may be, in characters.
const maxSnapshotWords = 500

var snapshotNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// IsSnapshotName says whether a snapshot can have this name.
func IsSnapshotName(s string) bool { return snapshotNames.MatchString(s) }

// CheckSnapshot says what is wrong with a new snapshot's name and description.
func CheckSnapshot(name, description string) []Field {
	var out []Field
	if !IsSnapshotName(name) {
		out = append(out, Field{Pointer: "/name", Code: CodeInvalidValue,
			Detail: "A name has 1 to 40 letters of the English alphabet, digits, hyphens and underscores."})
	}
	if utf8.RuneCountInString(description) > maxSnapshotWords {
		out = append(out, Field{Pointer: "/description", Code: CodeInvalidValue,
			Detail: "The description may have at most 500 characters."})
	}
	return out
}

// SnapshotLimitGate is shut when a VPS has all the snapshots that it may have.
func SnapshotLimitGate(used, limit int) Gate {
	if used < limit {
		return Open
	}
	return Shut(CodeSnapshotLimitReached, "This VPS has all the snapshots that it may have. Delete one first.")
}

// SnapshotInput is the input of the operations on snapshots.
type SnapshotInput struct {
	Snapshot SnapshotID `json:"snapshot"`
	Name     string     `json:"name"` // for the result and the log
	// Grace is how long a rollback lets the guest power off by itself.
	Grace time.Duration `json:"grace,omitempty"`
	// Runs: the VPS was to run when the rollback was asked for, so it is started
	// afterwards, even if its host went down before it began.
	Runs bool `json:"runs,omitempty"`
}

// The steps of the operations on snapshots after whose beginning the host may hold
// something else than before, whatever is said of the operation's end.
const (
	StepSnapshotTake   = "take"
	StepSnapshotSwitch = "switch"
	StepSnapshotRemove = "remove"
)

// SnapshotReport is the report of KindSnapshotCreate and KindSnapshotDelete, and
// with the power afterwards of KindSnapshotRestore.
type SnapshotReport struct {
	// TakenAt and Frozen are of the snapshot that was created.
	TakenAt time.Time  `json:"takenAt,omitzero"`
	Frozen  bool       `json:"frozen,omitempty"`
	Power   PowerState `json:"power,omitempty"`
}
