package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"holdfast/compute"
)

// Guest is the software of a machine: it serves one of the machine's forwarded
// ports until the listener is closed. It may use the Host's ReadDisk and
// WriteDisk, as a real guest uses its disks.
type Guest func(m compute.Machine, l net.Listener)

// guests are the open ports of running machines, by machine.
type guests struct {
	mu    sync.Mutex
	serve Guest // nil: guests are silent
	ports map[string][]port
}

// port is a forwarded port; done is closed when its Guest has returned.
type port struct {
	listener net.Listener
	done     chan struct{}
}

// Serve makes the guests of this Host answer on their forwarded ports of
// 127.0.0.1 while they run: those that run now, and those that this Host
// starts. The returned function ends that, and frees the ports.
func (h *Host) Serve(ctx context.Context, guest Guest) (stop func() error, err error) {
	h.guests.mu.Lock()
	h.guests.serve = guest
	h.guests.mu.Unlock()
	stop = func() error {
		h.guests.mu.Lock()
		defer h.guests.mu.Unlock()
		h.guests.serve = nil
		var failed error
		for machine := range h.guests.ports {
			failed = errors.Join(failed, h.guests.silence(machine))
		}
		return failed
	}
	machines, err := h.Machines(ctx)
	for _, machine := range machines {
		err = errors.Join(err, h.follow(ctx, machine))
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// follow makes a machine's ports be as its power state is: open while it runs,
// closed when it does not.
func (h *Host) follow(ctx context.Context, machine string) error {
	h.guests.mu.Lock()
	defer h.guests.mu.Unlock()
	if h.guests.serve == nil {
		return nil
	}
	var found *state
	err := h.look(ctx, machine, func(s *state) error {
		found = s
		return nil
	})
	if errors.Is(err, compute.ErrNotFound) {
		return h.guests.silence(machine)
	}
	if err != nil {
		return err
	}
	if found.Power == compute.Stopped {
		return h.guests.silence(machine)
	}
	if h.guests.ports[machine] != nil {
		return nil
	}
	return h.guests.speak(ctx, found.Machine)
}

// speak opens the machine's forwarded ports.
func (g *guests) speak(ctx context.Context, m compute.Machine) error {
	if g.ports == nil {
		g.ports = map[string][]port{}
	}
	for _, forward := range m.NIC.Forwards {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", forward.HostPort))
		if err != nil {
			return errors.Join(err, g.silence(m.ID))
		}
		p := port{listener: listener, done: make(chan struct{})}
		g.ports[m.ID] = append(g.ports[m.ID], p)
		serve := g.serve
		go func() {
			defer close(p.done)
			serve(m, listener)
		}()
	}
	return nil
}

// silence closes the machine's ports and waits for its Guests.
func (g *guests) silence(machine string) error {
	var failed error
	for _, p := range g.ports[machine] {
		failed = errors.Join(failed, p.listener.Close())
		<-p.done
	}
	delete(g.ports, machine)
	return failed
}
