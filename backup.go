package holdfast

import "time"

// BackupStatus is how far a backup has come.
type BackupStatus string

// The states of a backup. Only a completed one can be restored; a deleted one
// is kept as a row until its space is free.
const (
	BackupPending   BackupStatus = "pending"
	BackupCompleted BackupStatus = "completed"
	BackupFailed    BackupStatus = "failed"
	BackupDeleted   BackupStatus = "deleted"
)

// Backup is an offsite copy of all disks of a VPS at one instant.
type Backup struct {
	ID        BackupID
	AccountID AccountID
	VPSID     VPSID
	Status    BackupStatus
	Type      string // "manual" or "scheduled"
	Note      string
	Protected bool
	// LockedUntil is the date before which its site lets nobody delete it, zero for
	// none.
	LockedUntil time.Time
	Site        string
	// RequestedAt is when it was asked for, PointAt the instant of its data;
	// zero until it is completed.
	RequestedAt time.Time
	PointAt     time.Time
	// Point names the change tracking that began with it.
	Point string
	// Generation of the VPS's disks that it was taken of.
	Generation int
	// The sizes are bytes: SizeBytes of all disks, and what was found changed
	// and was sent, over all attempts.
	SizeBytes        int64
	ChangedBytes     int64
	TransferredBytes int64
	// DataBytes is how much a restore writes; 0: not known.
	DataBytes   int64
	Incremental string // "full", "incremental", "repair"
	// IncrementalReason says why it is "repair", for people and at most 512 bytes.
	IncrementalReason string
	Consistency       string // "crash", "filesystem", "offline"
	// ConsistencyReason says why it is "crash", for people and at most 512
	// bytes; in part a guest's words.
	ConsistencyReason string
	// Latency of the VPS's writes; nil when it was not measured.
	Latency *BackupLatency
	// What the VPS was, for a restore after it is gone.
	CPUCores  int
	MemoryMiB int
	Disks     []VPSDisk
	Boot      Boot
	OS        *OperatingSystem
}

// How a backup relates to the ones before it.
const (
	IncrementalFull  = "full"        // nothing before it could be built on
	IncrementalDelta = "incremental" // only what changed was read
	IncrementalFixed = "repair"      // change tracking was lost: all was read, only what differs sent
)

// What may be relied on in a backup's file systems.
const (
	ConsistencyCrash      = "crash"      // as after a power cut
	ConsistencyFilesystem = "filesystem" // frozen by the guest's agent: no journal to replay
	ConsistencyOffline    = "offline"    // the VPS was stopped
)

// BackupLatency is how long a VPS's writes to its disks took before a backup
// and while it was copied.
type BackupLatency struct {
	Before WriteLatency `json:"before"`
	During WriteLatency `json:"during"`
	// WriteLimit is how many bytes per second the VPS was allowed to write
	// meanwhile; 0 is no limit.
	WriteLimit int64 `json:"writeLimit,omitempty"`
}

// WriteLatency is the latency of a number of writes in microseconds: what half
// of them, and 99 in a hundred, did not exceed, each rounded up to the next
// bound of the histogram that it comes from.
type WriteLatency struct {
	Writes int64 `json:"writes"`
	P50    int64 `json:"p50Micros"`
	P99    int64 `json:"p99Micros"`
}

// Quota is the use of a VPS's backup slots.
type Quota struct {
	Used  int
	Limit int // negative: none
}

// Remaining is how many slots are free, and false when there is no limit.
func (q Quota) Remaining() (int, bool) {
	if q.Limit < 0 {
		return 0, false
	}
	return max(0, q.Limit-q.Used), true
}
