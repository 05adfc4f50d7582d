// Package computetest is the conformance suite of compute.Driver and
// compute.Provisioner: each hypervisor driver runs it in its own tests.
package computetest

import (
	"testing"

	"holdfast/compute"
)

// Host is a driver and a provisioner of the same machines.
type Host interface {
	compute.Driver
	compute.Provisioner
}

// Harness is what the suite needs besides the interfaces under test. Its
// methods return errors, for they are also called by goroutines.
type Harness interface {
	// Open opens the host anew, as a service does when it is started again
	// after a crash: machines and points in time of former Hosts are still
	// there. The suite never uses a former Host again.
	Open() (Host, error)
	// Machine completes a definition with what this driver needs to start it.
	// Nothing has to boot: the suite acts as the guest, by Write.
	Machine(m compute.Machine) compute.Machine
	// Write writes length bytes of pattern at off to a disk of a running
	// machine, on the way on which its guest's writes go (in QEMU: HMP
	// qemu-io), durable when it returns. off and length are multiples of 4096.
	Write(machine, disk string, off, length int64, pattern byte) error
	// Pause pauses a running machine, as its customer may.
	Pause(machine string) error
	// PowerOff powers a running machine off as its guest does, and returns when it is
	// off.
	PowerOff(machine string) error
	// Kill ends the hypervisor process of a running machine by SIGKILL, and
	// returns when it is gone.
	Kill(machine string) error
	// Leftovers lists everything on the host that belongs to the machine, for
	// after Delete, or only to its points in time, for after End: files,
	// sockets, processes, nodes and exports of the hypervisor. Bitmaps and
	// lock files of a machine that exists do not count.
	Leftovers(machine string, pointsOnly bool) ([]string, error)
}

// TestDriver checks everything that compute.Driver and compute.Provisioner
// promise. start makes a new, empty host; its Cleanup removes it.
func TestDriver(t *testing.T, start func(t *testing.T) Harness) {
	for _, group := range []struct {
		name  string
		cases []behaviour
	}{
		{"machines", machineBehaviours},
		{"points", pointBehaviours},
		{"tracking", trackingBehaviours},
		{"begin", beginBehaviours},
		{"loss", lossBehaviours},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				t.Run(c.name, func(t *testing.T) {
					c.test(newRig(t, start(t)))
				})
			}
		})
	}
}

// behaviour is one promise, and the test of it on a fresh host.
type behaviour struct {
	name string
	test func(r *rig)
}
