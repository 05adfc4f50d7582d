package holdfast

import (
	"encoding/json"
	"time"
)

// Kind is what an operation does; it is the `type` of a job on the wire.
type Kind string

// The kinds of operations.
const (
	KindBackup        Kind = "backup"
	KindBackupDelete  Kind = "backup_delete"
	KindRestoreToPayg Kind = "restore_to_payg"
	KindVPSCreate     Kind = "vps_create"
	KindVPSStart      Kind = "vps_start"
	KindVPSStop       Kind = "vps_stop"
	KindVPSDelete     Kind = "vps_delete"
	KindVPSRestart    Kind = "vps_restart"
	KindVPSReset      Kind = "vps_reset"
	KindVPSReshape    Kind = "vps_reshape" // other disks: one larger, more or less

	KindRestoreInPlace  Kind = "restore_in_place"
	KindRestoreUndo     Kind = "restore_undo"
	KindSnapshotCreate  Kind = "snapshot_create"
	KindSnapshotRestore Kind = "snapshot_restore"
	KindSnapshotDelete  Kind = "snapshot_delete"

	KindCopy         Kind = "copy"          // a backup to a further place
	KindCopyDelete   Kind = "copy_delete"   // a deleted backup's copy at a further place
	KindVaultCollect Kind = "vault_collect" // the space of an account's deleted backups at one place

	KindGenerationDrop Kind = "generation_drop" // disks of a VPS that are not in force any more
)

// Upkeep says whether operations of the kind are the service's own: customers
// neither see them nor wait for them.
func (k Kind) Upkeep() bool {
	return k == KindCopy || k == KindCopyDelete || k == KindVaultCollect || k == KindGenerationDrop
}

// MovesPower says whether operations of the kind stop and start the VPS
// themselves, or make or end it: power actions are refused meanwhile, and what the
// VPS is seen doing is not noted.
func (k Kind) MovesPower() bool {
	switch k {
	case KindVPSCreate, KindVPSStart, KindVPSStop, KindVPSRestart, KindVPSReset, KindVPSDelete, KindVPSReshape,
		KindRestoreToPayg, KindRestoreInPlace, KindRestoreUndo, KindSnapshotRestore:
		return true
	}
	return false
}

// StepSwitch is the step that puts other disks in force: once it has begun the
// operation cannot be cancelled.
const StepSwitch = "switch"

// OperationStatus is how far an operation has come; the values are the wire's.
type OperationStatus string

// The states of an operation.
const (
	OperationQueued     OperationStatus = "queued"
	OperationInProgress OperationStatus = "in_progress"
	OperationCompleted  OperationStatus = "completed"
	OperationFailed     OperationStatus = "failed"
)

// Lock names what an operation excludes on its VPS: two active operations that
// share a lock and a VPS cannot be.
type Lock string

// The locks. A power action is never refused because of a backup.
const (
	LockNone  Lock = ""
	LockData  Lock = "data"  // backup, snapshots, in-place restore, resize, creation, deletion
	LockPower Lock = "power" // start, stop
)

// Operation is durable asynchronous work: the job of the wire, the entry in the
// queue, and the truth about both.
type Operation struct {
	ID        JobID
	Kind      Kind
	AccountID AccountID
	VPSID     VPSID    // what it works on
	BackupID  BackupID // what it makes, reads or deletes; "" if none
	HostID    HostID   // where it must run
	Place     string   // of an upkeep's vault, by its name in the configuration; else ""
	KeyID     KeyID    // who started it; "" for the operator or the service
	Lock      Lock
	Status    OperationStatus
	Input     json.RawMessage // what the runner needs, by kind
	Result    json.RawMessage // what the wire shows; only when completed
	Failure   *Failure        // only when failed
	Progress  Progress

	// Epoch counts the claims; every write by a runner carries it.
	Epoch      int64
	Runner     string
	LeaseUntil time.Time // by the database's clock; zero when not claimed
	// NotBefore delays a retry.
	NotBefore time.Time
	Attempts  int
	Cancel    bool // asked for; the runner sees it with its next renewal
	// Cancellable says that its account may still have it cancelled. It is no part
	// of what is stored: false where nobody has looked.
	Cancellable bool

	CreatedAt  time.Time
	StartedAt  time.Time // zero: not yet
	FinishedAt time.Time // zero: not yet
}

// Progress of an operation, in bytes where bytes are known.
type Progress struct {
	Current int64  `json:"current"`
	Total   int64  `json:"total"`
	Message string `json:"message"`
}

// Percentage is 0..100; it is 100 only when all is done.
func (p Progress) Percentage() int {
	switch {
	case p.Total <= 0 || p.Current <= 0:
		return 0
	case p.Current >= p.Total:
		return 100
	}
	return int(float64(p.Current) / float64(p.Total) * 100)
}

// Failure is why an operation failed, in words for the user.
type Failure struct {
	Code       Code           `json:"code"`
	Message    string         `json:"message"`
	Extensions map[string]any `json:"extensions,omitempty"`
}

// Active says whether the operation still holds its locks.
func (o Operation) Active() bool {
	return o.Status == OperationQueued || o.Status == OperationInProgress
}
