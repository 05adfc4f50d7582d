package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"holdfast/compute"
)

// Guest makes what a machine's guest answers over HTTP. It may use the Host's
// ReadDisk and WriteDisk, as the software of a real guest uses its disks.
type Guest func(m compute.Machine) http.Handler

// guests are the HTTP servers of running machines, by machine.
type guests struct {
	mu      sync.Mutex
	make    Guest // nil: guests are silent
	servers map[string][]*http.Server
}

// Serve makes the guests of this Host answer on their forwarded ports of
// 127.0.0.1 while they run: those that run now, and those that this Host
// starts. The returned function ends that, and frees the ports.
func (h *Host) Serve(ctx context.Context, guest Guest) (stop func() error, err error) {
	h.guests.mu.Lock()
	h.guests.make = guest
	h.guests.mu.Unlock()
	stop = func() error {
		h.guests.mu.Lock()
		defer h.guests.mu.Unlock()
		h.guests.make = nil
		var failed error
		for machine := range h.guests.servers {
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

// follow makes a machine's HTTP servers be as its power state is: there while
// it runs, gone when it does not.
func (h *Host) follow(ctx context.Context, machine string) error {
	h.guests.mu.Lock()
	defer h.guests.mu.Unlock()
	if h.guests.make == nil {
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
	if h.guests.servers[machine] != nil {
		return nil
	}
	return h.guests.speak(ctx, found.Machine)
}

// speak opens the machine's forwarded ports.
func (g *guests) speak(ctx context.Context, m compute.Machine) error {
	if g.servers == nil {
		g.servers = map[string][]*http.Server{}
	}
	for _, forward := range m.NIC.Forwards {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", forward.HostPort))
		if err != nil {
			return errors.Join(err, g.silence(m.ID))
		}
		server := &http.Server{Handler: g.make(m), ReadHeaderTimeout: time.Minute}
		g.servers[m.ID] = append(g.servers[m.ID], server)
		go func() {
			// It ends when silence closes it, which is not an error.
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				panic(fmt.Sprintf("sim: guest of %s: %v", m.ID, err))
			}
		}()
	}
	return nil
}

// silence closes the machine's ports and connections.
func (g *guests) silence(machine string) error {
	var failed error
	for _, server := range g.servers[machine] {
		failed = errors.Join(failed, server.Close())
	}
	delete(g.servers, machine)
	return failed
}
