// Package machine holds the use cases that make, start, stop and delete
// machines, and that take, roll back to and delete snapshots of them, as handlers
// of operations. They repeat harmlessly: a successor of a
// killed runner does the same again and finds done what was done.
package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"holdfast"
	"holdfast/compute"
	"holdfast/operation"
)

// Host is one hypervisor machine's provisioner with what is chosen on the host
// itself: forwarded ports. It is safe for concurrent use by one process; two
// processes must not share a host.
type Host struct {
	Driver      compute.Driver
	Provisioner compute.Provisioner
	// Regenerator replaces all disks of a machine at once.
	Regenerator compute.Regenerator
	// Snapshotter keeps snapshots; nil: the host's driver has none.
	Snapshotter compute.Snapshotter
	// Reshaper changes which disks machines have; nil: the host's driver cannot.
	Reshaper compute.Reshaper
	// Ports forwarded to guests are taken from [First, Last] on 127.0.0.1.
	Ports PortRange

	choosing sync.Mutex // held from choosing ports until they are defined
}

// PortRange is a range of TCP ports; both ends are included.
type PortRange struct{ First, Last int }

// forwardAddress is where forwarded ports listen.
const forwardAddress = "127.0.0.1"

// Define makes a machine, stopped, and returns its forwarded ports. Defining
// one that is there already only reports them.
func (h *Host) Define(ctx context.Context, id holdfast.VPSID, in holdfast.MachineInput) ([]holdfast.ForwardedPort, error) {
	h.choosing.Lock()
	defer h.choosing.Unlock()
	st, err := h.Driver.Inspect(ctx, string(id))
	if err == nil {
		return ports(st.Forwards), nil
	}
	if !errors.Is(err, compute.ErrNotFound) {
		return nil, fmt.Errorf("machine: inspect: %w", err)
	}
	forwards, err := h.choose(ctx, in.Forward)
	if err != nil {
		return nil, err
	}
	m := compute.Machine{
		ID: string(id), Hostname: in.Hostname, CPUs: in.CPUCores, MemoryMiB: in.MemoryMiB,
		Kernel: in.Boot.Kernel, Initrd: in.Boot.Initrd, Cmdline: in.Boot.Cmdline,
		NIC: compute.NIC{MAC: in.MAC, Network: in.Network, Forwards: forwards},
	}
	for i, d := range in.Disks {
		cd := compute.Disk{Name: d.Name, SizeBytes: d.SizeBytes}
		if i == 0 && in.Image != nil {
			cd.Image, cd.ImageFormat = in.Image.Path, in.Image.Format
		}
		m.Disks = append(m.Disks, cd)
	}
	if err := h.Provisioner.Define(ctx, m); err != nil {
		return nil, Explain("machine.Define", err)
	}
	return ports(forwards), nil
}

// Create is the handler of holdfast.KindVPSCreate.
func (h *Host) Create(ctx context.Context, run *operation.Run) (any, error) {
	var in holdfast.MachineInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	id := run.Operation.VPSID
	fwd, err := h.Define(ctx, id, in)
	if err != nil {
		return nil, err
	}
	report := holdfast.MachineReport{Power: holdfast.PowerStopped, Ports: fwd}
	if in.Start {
		if err := h.Provisioner.Start(ctx, string(id)); err != nil {
			return nil, Explain("machine.Create", err)
		}
		report.Power = holdfast.PowerRunning
	}
	return report, nil
}

// Start is the handler of holdfast.KindVPSStart.
func (h *Host) Start(ctx context.Context, run *operation.Run) (any, error) {
	if err := h.Provisioner.Start(ctx, string(run.Operation.VPSID)); err != nil {
		return nil, Explain("machine.Start", err)
	}
	return holdfast.MachineReport{Power: holdfast.PowerRunning}, nil
}

// Stop is the handler of holdfast.KindVPSStop.
func (h *Host) Stop(ctx context.Context, run *operation.Run) (any, error) {
	var in holdfast.StopInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	if err := h.Provisioner.Stop(ctx, string(run.Operation.VPSID), in.Grace); err != nil {
		return nil, Explain("machine.Stop", err)
	}
	return holdfast.MachineReport{Power: holdfast.PowerStopped}, nil
}

// Restart is the handler of holdfast.KindVPSRestart and KindVPSReset. Once begun it
// is not cancelled: a guest that was asked to power off may do so at any time.
func (h *Host) Restart(ctx context.Context, run *operation.Run) (any, error) {
	var in holdfast.StopInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	_, _, begun, err := operation.Begun(run, "stop")
	if err != nil {
		return nil, err
	}
	if cause := context.Cause(ctx); cause != nil && !begun {
		return nil, fmt.Errorf("machine: not begun: %w", cause)
	}
	ctx, end := committed(ctx, run)
	defer end()
	id := string(run.Operation.VPSID)
	_, err = operation.Do(ctx, run, "stop", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.Provisioner.Stop(ctx, id, in.Grace)
	})
	if err == nil {
		err = h.Provisioner.Start(ctx, id)
	}
	if err != nil {
		return nil, Explain("machine.Restart", err)
	}
	return holdfast.MachineReport{Power: holdfast.PowerRunning}, nil
}

// Delete is the handler of holdfast.KindVPSDelete.
func (h *Host) Delete(ctx context.Context, run *operation.Run) (any, error) {
	if err := h.Provisioner.Delete(ctx, string(run.Operation.VPSID)); err != nil {
		return nil, Explain("machine.Delete", err)
	}
	return holdfast.MachineReport{Power: holdfast.PowerStopped}, nil
}

// choose finds a free port of the host for each port of the guest: in the
// range, not of another machine (even a stopped one), and not in use now.
func (h *Host) choose(ctx context.Context, guest []int) ([]compute.Forward, error) {
	ids, err := h.Provisioner.Machines(ctx)
	if err != nil {
		return nil, fmt.Errorf("machine: list: %w", err)
	}
	taken := map[int]bool{}
	for _, id := range ids {
		st, err := h.Driver.Inspect(ctx, id)
		if errors.Is(err, compute.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("machine: inspect %s: %w", id, err)
		}
		for _, f := range st.Forwards {
			taken[f.HostPort] = true
		}
	}
	var out []compute.Forward
	next := h.Ports.First
	for _, g := range guest {
		for ; next <= h.Ports.Last && (taken[next] || !free(next)); next++ {
		}
		if next > h.Ports.Last {
			return nil, holdfast.Wrap(holdfast.CodeRegionCapacity, "machine.choose",
				"The host has no free port to forward. Delete a VPS, or ask the operator to widen the range of ports.", nil)
		}
		out = append(out, compute.Forward{HostPort: next, GuestPort: g})
		next++
	}
	return out, nil
}

func free(port int) bool {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(forwardAddress), Port: port})
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func ports(fs []compute.Forward) []holdfast.ForwardedPort {
	var out []holdfast.ForwardedPort
	for _, f := range fs {
		out = append(out, holdfast.ForwardedPort{Address: forwardAddress, HostPort: f.HostPort, GuestPort: f.GuestPort})
	}
	return out
}
