package compute

import (
	"context"
	"time"

	"holdfast/disk"
)

// Machine is the definition of a virtual machine.
type Machine struct {
	ID        string `json:"id"`
	Hostname  string `json:"hostname"`
	CPUs      int    `json:"cpus"`
	MemoryMiB int    `json:"memoryMiB"`
	// Kernel, Initrd and Cmdline boot the machine directly; without them it
	// boots from its first disk.
	Kernel  string `json:"kernel,omitempty"`
	Initrd  string `json:"initrd,omitempty"`
	Cmdline string `json:"cmdline,omitempty"`
	Disks   []Disk `json:"disks"`
	NIC     NIC    `json:"nic"`
}

// Disk is one disk of a machine, in the order the guest sees them.
type Disk struct {
	// Name is unique in the machine, [a-z0-9]{1,16}: "disk0", "disk1", …
	Name      string `json:"name"`
	SizeBytes int64  `json:"sizeBytes"`
	// Image is a file whose content the disk begins with (raw or qcow2, not
	// larger than the disk), "" for zeros. It is read at Define only.
	Image string `json:"image,omitempty"`
	// ImageFormat is "raw" or "qcow2"; it is never guessed, for a guest could
	// write another format's header into a raw disk.
	ImageFormat string `json:"imageFormat,omitempty"`
}

// NIC is the machine's network card.
type NIC struct {
	MAC string `json:"mac"`
	// Network is "user": a private network with forwarded ports. Bridges will
	// be named here.
	Network  string    `json:"network"`
	Forwards []Forward `json:"forwards,omitempty"`
}

// Forward is a port of the host, on 127.0.0.1, forwarded to one of the guest.
type Forward struct {
	HostPort  int `json:"hostPort"`
	GuestPort int `json:"guestPort"`
}

// Provisioner keeps machines. All methods but Start and Stop are idempotent in
// the sense that repeating a finished call succeeds; Start of a running machine
// and Stop of a stopped one succeed too.
type Provisioner interface {
	// Define creates the machine and its disks, stopped.
	Define(ctx context.Context, m Machine) error
	// Start boots the machine. It outlives the process that started it.
	Start(ctx context.Context, machine string) error
	// Stop asks the guest to power off and waits for at most grace; then, or at
	// once when grace is 0, it ends the machine by force.
	Stop(ctx context.Context, machine string, grace time.Duration) error
	// Delete ends the machine by force and removes all of it.
	Delete(ctx context.Context, machine string) error
	// Fill opens a disk of a stopped machine for writing; it was zeros when the
	// machine was defined. Only one Sink per disk is open at a time: opening
	// it again ends the former one, of a dead process too.
	Fill(ctx context.Context, machine, diskName string) (disk.Sink, error)
	// Machines lists the ids of all machines defined on this host.
	Machines(ctx context.Context) ([]string, error)
	// Console is the end of the machine's serial output, at most max bytes.
	Console(ctx context.Context, machine string, max int) ([]byte, error)
}
