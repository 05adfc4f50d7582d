package holdfast

import "time"

// Region is a place where Cloud VMs can be made; its id is a word such as
// "stockholm".
type Region struct {
	ID        string
	Name      string
	Default   bool // the region of a Cloud VM when none is named; at most one
	CreatedAt time.Time
}

// Host is a hypervisor machine.
type Host struct {
	ID        HostID
	Region    string
	Name      string
	Driver    string // "qemu", "sim"
	CreatedAt time.Time
	// Enabled hosts accept operations; the operator sets it.
	Enabled bool
	// SeenAt is when the host last gave a sign of life, by the database's
	// clock.
	SeenAt time.Time
	// Room is how many bytes were free where its VPSs' disks lie when it last told;
	// 0: it has not.
	Room int64
	// Capacity bounds what may be placed here; zero fields bound nothing.
	Capacity CloudResources
	// Snapshots: its driver can take and keep them.
	Snapshots bool
}

// HostAlive is how long a host without a sign of life counts as available.
const HostAlive = 60 * time.Second

// Available says whether the host takes work now.
func (h Host) Available(now time.Time) bool {
	return h.Enabled && now.Sub(h.SeenAt) < HostAlive
}
