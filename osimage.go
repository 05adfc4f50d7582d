package holdfast

import "time"

// OSImage is what a new VPS begins with: a disk, and for a direct boot a kernel
// and an initial RAM disk. The paths are on the host.
type OSImage struct {
	ID        OSImageID
	Name      string // unique
	OS        OperatingSystem
	Disk      string
	Format    string // "raw" or "qcow2", never guessed
	SizeBytes int64  // virtual size of the disk
	Boot      Boot
	CreatedAt time.Time
}

// Boot says how a machine boots; without a kernel, from its first disk.
type Boot struct {
	Kernel  string `json:"kernel,omitempty"`
	Initrd  string `json:"initrd,omitempty"`
	Cmdline string `json:"cmdline,omitempty"`
}

// OperatingSystem is what the wire says of a VPS's system.
type OperatingSystem struct {
	DisplayName string `json:"displayName"`
	Family      string `json:"family"`
	Version     string `json:"version"`
	Variant     string `json:"variant"`
}
