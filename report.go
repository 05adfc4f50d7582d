package holdfast

import "time"

// The reports of operations: what a runner found and did, from which the
// control plane writes rows and the job's result.

// BackupReport is the report of KindBackup.
type BackupReport struct {
	PointAt          time.Time `json:"pointAt"`
	Point            string    `json:"point"`
	SizeBytes        int64     `json:"sizeBytes"`
	ChangedBytes     int64     `json:"changedBytes"`
	TransferredBytes int64     `json:"transferredBytes"` // over all attempts
	DataBytes        int64     `json:"dataBytes"`        // to be written by a restore
	Incremental      string    `json:"incremental"`
	// IncrementalReason is that of Backup.
	IncrementalReason string `json:"incrementalReason,omitempty"`
	Consistency       string `json:"consistency"`
	// ConsistencyReason and Latency are those of Backup.
	ConsistencyReason string         `json:"consistencyReason,omitempty"`
	Latency           *BackupLatency `json:"latency,omitempty"`
	// LockedUntil is the date before which nobody can delete the backup, zero for none.
	LockedUntil time.Time `json:"lockedUntil,omitzero"`
}

// MachineReport is the report of KindVPSCreate, KindVPSStart, KindVPSStop,
// KindVPSDelete and KindRestoreUndo, and part of RestoreReport.
type MachineReport struct {
	Power PowerState      `json:"power"`
	Ports []ForwardedPort `json:"ports,omitempty"`
}

// InPlaceReport is the report of KindRestoreInPlace.
type InPlaceReport struct {
	Power        PowerState `json:"power"` // afterwards
	BytesWritten int64      `json:"bytesWritten"`
}

// RestoreReport is the report of KindRestoreToPayg.
type RestoreReport struct {
	MachineReport
	BytesWritten int64        `json:"bytesWritten"`
	Growth       []DiskGrowth `json:"growth,omitempty"`
}

// DiskGrowth is what became of the room that a restored disk has more than the
// backup's.
type DiskGrowth struct {
	Disk      string `json:"disk"`
	Partition int    `json:"partition,omitempty"` // that has grown; 0 for none
	Note      string `json:"note"`                // what is left to do, for the customer
}
