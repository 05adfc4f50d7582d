package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/machine"
	"holdfast/operation"
)

// newHost is a host with n ports to forward, which nobody else uses now.
func newHost(t *testing.T, n int) (*machine.Host, *sim.Host) {
	t.Helper()
	s, err := sim.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &machine.Host{Driver: s, Provisioner: s, Ports: freeRange(t, n)}, s
}

// freeRange finds n neighbouring ports that are free.
func freeRange(t *testing.T, n int) machine.PortRange {
	t.Helper()
	for first := 48000; first < 60000; first += n {
		ok := true
		for p := first; p < first+n && ok; p++ {
			l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", p))
			if ok = err == nil; ok {
				ok = l.Close() == nil
			}
		}
		if ok {
			return machine.PortRange{First: first, Last: first + n - 1}
		}
	}
	t.Fatal("no free ports")
	return machine.PortRange{}
}

func input(forward ...int) holdfast.MachineInput {
	return holdfast.MachineInput{
		Hostname: "web", CPUCores: 1, MemoryMiB: 64, MAC: "52:54:00:00:00:01", Network: "user", Forward: forward,
		Disks: []holdfast.VPSDisk{{Name: "disk0", SizeBytes: 1 << 20}},
	}
}

func define(t *testing.T, h *machine.Host, in holdfast.MachineInput) (holdfast.VPSID, []holdfast.ForwardedPort) {
	t.Helper()
	id := holdfast.NewID[holdfast.VPSID]()
	p, err := h.Define(t.Context(), id, in)
	if err != nil {
		t.Fatal(err)
	}
	return id, p
}

func TestPortsAreNobodyElses(t *testing.T) {
	h, _ := newHost(t, 6)
	taken, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", h.Ports.First+1)) // by another process
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	}()
	a, first := define(t, h, input(22, 80)) // never started: its ports are still its own
	_, second := define(t, h, input(22, 80))
	seen := map[int]bool{h.Ports.First + 1: true}
	for i, p := range append(first, second...) {
		if seen[p.HostPort] || p.HostPort < h.Ports.First || p.HostPort > h.Ports.Last || p.Address != "127.0.0.1" || p.GuestPort != []int{22, 80}[i%2] {
			t.Errorf("port %d is %+v", i, p)
		}
		seen[p.HostPort] = true
	}
	again, err := h.Define(t.Context(), a, input(22, 80))
	if err != nil || fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("a repeated definition tells %v (%v) instead of %v", again, err, first)
	}
	if _, err := h.Define(t.Context(), holdfast.NewID[holdfast.VPSID](), input(22, 80)); holdfast.CodeOf(err) != holdfast.CodeRegionCapacity {
		t.Errorf("with one port left: %v", err)
	}
	if err := h.Provisioner.Delete(t.Context(), string(a)); err != nil {
		t.Fatal(err)
	}
	if _, third := define(t, h, input(22, 80)); fmt.Sprint(third) != fmt.Sprint(first) {
		t.Errorf("the ports of a deleted machine are not given again: %v", third)
	}
}

func TestPortsOfMachinesDefinedAtOnce(t *testing.T) {
	h, _ := newHost(t, 16)
	type answer struct {
		ports []holdfast.ForwardedPort
		err   error
	}
	answers := make(chan answer)
	for range 8 {
		go func() {
			p, err := h.Define(context.Background(), holdfast.NewID[holdfast.VPSID](), input(22, 80))
			answers <- answer{p, err}
		}()
	}
	seen := map[int]bool{}
	for range 8 {
		a := <-answers
		if a.err != nil {
			t.Error(a.err)
		}
		for _, p := range a.ports {
			if seen[p.HostPort] {
				t.Errorf("port %d was given twice", p.HostPort)
			}
			seen[p.HostPort] = true
		}
	}
}

// mute is a driver whose Inspect fails.
type mute struct {
	compute.Driver

	err error
}

func (m mute) Inspect(context.Context, string) (compute.State, error) { return compute.State{}, m.err }

// What cannot be looked at now may be there already, with other ports.
func TestMachineThatCannotBeSeenIsNotDefined(t *testing.T) {
	h, s := newHost(t, 2)
	h.Driver = mute{s, compute.ErrBusy}
	if _, err := h.Define(t.Context(), holdfast.NewID[holdfast.VPSID](), input(22)); !errors.Is(err, compute.ErrBusy) {
		t.Errorf("define: %v", err)
	}
	if ids, err := s.Machines(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("machines %v, %v", ids, err)
	}
}

func run(t *testing.T, id holdfast.VPSID, in any) *operation.Run {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return operation.Detached(holdfast.Operation{ID: holdfast.NewID[holdfast.JobID](), VPSID: id, Input: b})
}

// Each step of a life is done twice: by a runner that is killed before it can
// say so, and by its successor.
func TestLifeOfAMachineEachStepTwice(t *testing.T) {
	h, s := newHost(t, 4)
	id := holdfast.NewID[holdfast.VPSID]()
	in := input(80)
	in.Start = true
	for _, step := range []struct {
		name  string
		do    operation.Handler
		in    any
		power holdfast.PowerState
	}{
		{"create", h.Create, in, holdfast.PowerRunning},
		{"stop", h.Stop, holdfast.StopInput{Grace: time.Millisecond}, holdfast.PowerStopped},
		{"start", h.Start, struct{}{}, holdfast.PowerRunning},
		{"delete", h.Delete, struct{}{}, holdfast.PowerStopped},
	} {
		for range 2 {
			got, err := step.do(t.Context(), run(t, id, step.in))
			if err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if r, ok := got.(holdfast.MachineReport); !ok || r.Power != step.power || step.name == "create" && len(r.Ports) != 1 {
				t.Errorf("%s reports %+v", step.name, got)
			}
		}
	}
	if ids, err := s.Machines(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("machines left: %v, %v", ids, err)
	}
}

func TestWhatAUserIsTold(t *testing.T) {
	h, s := newHost(t, 2)
	id, _ := define(t, h, input())
	for _, c := range []struct {
		err  error
		code holdfast.Code
	}{
		{compute.ErrNoSpace, holdfast.CodeHostDiskFull},
		{compute.ErrNotFound, holdfast.CodeVPSNotReady},
		{compute.ErrState, holdfast.CodeVPSStateChanged},
		{compute.ErrScratchExhausted, holdfast.CodeScratchExhausted},
		{compute.ErrBusy, holdfast.CodeInternal},
	} {
		s.Inject(sim.Faults{Call: func(string, string) error { return fmt.Errorf("sim: %w", c.err) }})
		for name, do := range map[string]operation.Handler{"start": h.Start, "stop": h.Stop, "delete": h.Delete} {
			if _, err := do(t.Context(), run(t, id, struct{}{})); holdfast.CodeOf(err) != c.code || !errors.Is(err, c.err) {
				t.Errorf("%s, %v: %v", name, c.err, err)
			}
		}
		in := input()
		in.Start = true
		if _, err := h.Create(t.Context(), run(t, holdfast.NewID[holdfast.VPSID](), in)); !errors.Is(err, c.err) {
			t.Errorf("create, %v: %v", c.err, err)
		}
	}
}
