package holdfast

import "time"

// CopyState is how far the copy of a backup at a further place has come.
type CopyState string

// The states of a copy. What is pending or failed is tried until it is complete;
// a damaged one could not be read where it should be copied from; a copy that is
// deleting belongs to a backup that is deleted already.
const (
	CopyPending  CopyState = "pending"
	CopyCopying  CopyState = "copying" // shown while its operation runs; never stored
	CopyComplete CopyState = "complete"
	CopyFailed   CopyState = "failed"
	CopyDamaged  CopyState = "damaged"
	CopyDeleting CopyState = "deleting"
)

// BackupCopy is a backup at a place beside its first one.
type BackupCopy struct {
	BackupID    BackupID
	AccountID   AccountID
	Place       string // the place's name in the configuration
	State       CopyState
	Bytes       int64     // stored there for this backup, over all tries
	CompletedAt time.Time // zero: not yet
	// Error is why the last try failed, in words for the operator; "" when it has
	// not.
	Error string
	// DueAt is when it is tried next at the earliest, by the database's clock for leases.
	DueAt time.Time
}

// Garbage says that backups were deleted at a place, so that a collection there
// would free space.
type Garbage struct {
	AccountID AccountID
	Place     string
	Deletions int64     // since the last collection; it names a state of the row, too
	DueAt     time.Time // when it is to be collected, by the database's clock for leases
}

// CopyInput is the input of KindCopy.
type CopyInput struct {
	// Bases are earlier backups of the VPS, the newest first, which may be at the
	// place already.
	Bases []BackupID `json:"bases,omitempty"`
}

// CopyReport is the report of KindCopy.
type CopyReport struct {
	Bytes int64 `json:"bytes"` // stored at the place, over all tries of this session
}

// CollectInput is the input of KindVaultCollect.
type CollectInput struct {
	Deletions int64 `json:"deletions"` // of the Garbage that it is for
}

// CollectReport is the report of KindVaultCollect.
type CollectReport struct {
	Deleted int   `json:"packsDeleted"`
	Bytes   int64 `json:"bytesDeleted"`
	Copied  int64 `json:"bytesCopied"`
}
