package matrix

import (
	"bytes"
	"context"
	"testing"

	"holdfast/compute"
	"holdfast/compute/sim"
)

// hypervisor is all that a host's driver can do.
type hypervisor interface {
	compute.Driver
	compute.Provisioner
	compute.Reshaper
	compute.Snapshotter
	compute.Regenerator
}

// lab is a host, and what happens to its machines from outside and from within.
type lab interface {
	// Open opens the host anew, as a service does that is started again.
	Open() (hypervisor, error)
	// Write writes as the guest does, 4096 bytes of pattern or a multiple.
	Write(machine, disk string, off, length int64, pattern byte) error
	Pause(machine string) error
	Resume(machine string) error
	// Reset is a guest that boots anew, PowerOff one that powers itself off.
	Reset(machine string) error
	PowerOff(machine string) error
	// Kill ends the hypervisor process by SIGKILL.
	Kill(machine string) error
}

func newSim(t *testing.T) lab { return &simLab{dir: t.TempDir()} }

// simLab is a simulated host.
type simLab struct {
	dir  string
	host *sim.Host
}

func (l *simLab) Open() (hypervisor, error) {
	host, err := sim.Open(l.dir)
	l.host = host
	return host, err
}

func (l *simLab) Write(machine, disk string, off, length int64, pattern byte) error {
	return l.host.WriteDisk(machine, disk, bytes.Repeat([]byte{pattern}, int(length)), off)
}

func (l *simLab) Pause(machine string) error  { return l.host.Pause(context.Background(), machine) }
func (l *simLab) Resume(machine string) error { return l.host.Resume(context.Background(), machine) }
func (l *simLab) Reset(string) error          { return nil } // its guests do not boot
func (l *simLab) PowerOff(machine string) error {
	return l.host.PowerOff(context.Background(), machine)
}
func (l *simLab) Kill(machine string) error { return l.host.Kill(machine) }
