package holdfast

import (
	"slices"
	"time"
)

// The inputs of operations: all that a runner needs, so that a host works
// without a database. They hold no secrets.

// BackupInput is the input of KindBackup.
type BackupInput struct {
	Disks []VPSDisk `json:"disks"`
	// Parents are the committed backups of this VPS whose disks' generation is
	// still in force, the newest first.
	Parents []ParentBackup `json:"parents,omitempty"`
	// Earlier is the newest committed backup of all, used to tell "repair" from
	// "full"; "" if there is none.
	Earlier    BackupID `json:"earlier,omitempty"`
	Generation int      `json:"generation"`
}

// ParentBackup is a backup that an incremental may build on.
type ParentBackup struct {
	ID    BackupID `json:"id"`
	Point string   `json:"point"`
}

// MachineInput is the input of KindVPSCreate, and part of RestoreInput.
type MachineInput struct {
	Hostname  string     `json:"hostname"`
	CPUCores  int        `json:"cpuCores"`
	MemoryMiB int        `json:"memoryMiB"`
	Disks     []VPSDisk  `json:"disks"`
	Boot      Boot       `json:"boot"`
	MAC       string     `json:"mac"`
	Network   string     `json:"network"`
	Forward   []int      `json:"forward"` // guest ports to forward
	Image     *DiskImage `json:"image,omitempty"`
	Start     bool       `json:"start"`
}

// DiskImage is what the first disk of a new VPS begins with.
type DiskImage struct {
	Path   string `json:"path"`
	Format string `json:"format"`
}

// RestoreInput is the input of KindRestoreToPayg. The operation's VPS is the
// new Cloud VM.
type RestoreInput struct {
	Source  VPSID        `json:"source"`
	Region  string       `json:"region"`
	Machine MachineInput `json:"machine"`
	// Total is the sum of the backup's disks in bytes, for the progress.
	Total int64 `json:"total"`
}

// InPlaceInput is the input of KindRestoreInPlace. The operation's VPS gets the
// disks of the operation's backup.
type InPlaceInput struct {
	// Generation is the name of the new set of disks.
	Generation string    `json:"generation"`
	Disks      []VPSDisk `json:"disks"`
	// Point began the change tracking that the backup was made with; the new disks'
	// begins with it too. "": they have none.
	Point string `json:"point,omitempty"`
	// Grace is how long the guest may take to power off by itself.
	Grace time.Duration `json:"grace"`
}

// UndoInput is the input of KindRestoreUndo.
type UndoInput struct {
	// Generation is the name of the disks that come back.
	Generation string        `json:"generation"`
	Grace      time.Duration `json:"grace"`
}

// GenerationInput is the input of KindGenerationDrop.
type GenerationInput struct {
	Generation string `json:"generation"`
}

// StopInput is the input of KindVPSStop, KindVPSRestart and KindVPSReset.
type StopInput struct {
	Grace time.Duration `json:"grace"` // 0: by force at once
}

// Change is what happens to a disk of a VPS.
type Change string

// The changes of KindVPSReshape.
const (
	ReshapeGrow   Change = "grow"
	ReshapeAdd    Change = "add"
	ReshapeRemove Change = "remove"
)

// ReshapeInput is the input of KindVPSReshape.
type ReshapeInput struct {
	Change Change  `json:"change"`
	Disk   VPSDisk `json:"disk"` // as it is to be
}

// Apply is what the change makes of a VPS's disks. Applied again it changes
// nothing.
func (in ReshapeInput) Apply(disks []VPSDisk) []VPSDisk {
	i := slices.IndexFunc(disks, func(d VPSDisk) bool { return d.Name == in.Disk.Name })
	out := slices.Clone(disks)
	switch {
	case in.Change == ReshapeRemove && i > 0:
		return slices.Delete(out, i, i+1)
	case in.Change == ReshapeGrow && i >= 0:
		out[i].SizeBytes = max(out[i].SizeBytes, in.Disk.SizeBytes)
	case in.Change == ReshapeAdd && i < 0:
		return append(out, in.Disk)
	}
	return out
}
