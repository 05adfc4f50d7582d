package holdfast

import "time"

// ServiceStatus is the commercial state of a VPS.
type ServiceStatus string

// The service states of the wire that this service sets itself.
const (
	ServiceActive     ServiceStatus = "active"
	ServiceSuspended  ServiceStatus = "suspended"
	ServiceTerminated ServiceStatus = "terminated"
	ServicePending    ServiceStatus = "pending"
)

// PowerState is what a VPS is doing.
type PowerState string

// The power states of the wire.
const (
	PowerRunning      PowerState = "running"
	PowerStopped      PowerState = "stopped"
	PowerStarting     PowerState = "starting"
	PowerStopping     PowerState = "stopping"
	PowerPaused       PowerState = "paused"
	PowerProvisioning PowerState = "provisioning"
	PowerError        PowerState = "error"
	PowerUnknown      PowerState = "unknown"
)

// GiB is what the wire calls a "Gb", in bytes.
const GiB = int64(1) << 30

// VPS is a virtual private server. A Cloud VM is a VPS billed by the hour.
type VPS struct {
	ID        VPSID
	AccountID AccountID
	Region    string
	HostID    HostID
	Name      string
	OS        *OperatingSystem
	Service   ServiceStatus
	Power     PowerState
	// Desired is the state the customer last asked for: running or stopped.
	// After a host's reboot, guests that ran are started.
	Desired   PowerState
	CPUCores  int
	MemoryMiB int
	Disks     []VPSDisk // in the order the guest sees them
	Boot      Boot
	MAC       string
	PrimaryIP string // "" when it has none of its own
	Ports     []ForwardedPort
	Billing   Billing
	// Generation numbers the set of disks; a restore in place makes a new one.
	Generation int
	CreatedAt  time.Time
	// RestoredFrom is the backup a Cloud VM was made of, if it was.
	RestoredFrom BackupID
	// LastGeneration is the highest number that a set of its disks was given; 0: that
	// in force.
	LastGeneration int
	// Base is the backup that the disks in force were restored from in place; "" if
	// they were not. It may be of another VPS, and deleted.
	Base BackupID
}

// VPSDisk is one disk of a VPS.
type VPSDisk struct {
	Name      string `json:"name"` // unique in the VPS: "disk0", "disk1", …
	SizeBytes int64  `json:"sizeBytes"`
}

// ForwardedPort is a port of the guest reached through its host.
type ForwardedPort struct {
	Address   string `json:"address"`
	HostPort  int    `json:"hostPort"`
	GuestPort int    `json:"guestPort"`
}

// Billing is what the wire says of a VPS's price.
type Billing struct {
	AmountMinor int64  // minor units of Currency
	Currency    string // ISO 4217
	Cycle       string // "monthly", …
	IsPayg      bool   // a Cloud VM
}

// StorageBytes is the size of all disks together.
func (v VPS) StorageBytes() int64 {
	var n int64
	for _, d := range v.Disks {
		n += d.SizeBytes
	}
	return n
}

// MemoryGb is the memory in GiB, rounded up: what the wire shows.
func (v VPS) MemoryGb() int { return (v.MemoryMiB + 1023) / 1024 }

// StorageGb is the storage in GiB, rounded up: what the wire shows.
func (v VPS) StorageGb() int { return CeilGb(v.StorageBytes()) }

// CeilGb is n bytes in GiB, rounded up.
func CeilGb(n int64) int { return int((n + GiB - 1) / GiB) }
