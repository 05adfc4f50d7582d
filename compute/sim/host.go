// Package sim is a hypervisor host made of files: machines whose guests are
// whoever calls WriteDisk, with points in time, change tracking that can be
// lost, and faults on demand.
//
// Everything lies in one directory, so that another process that opens it finds
// machines running, and points in time open, as with a real hypervisor.
package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/compute"
)

// driverName is in every Handle.
const driverName = "sim"

// handleVersion is the version of a Handle's opaque state.
const handleVersion = 1

// Host is a simulated hypervisor host. It is a compute.Driver and a
// compute.Provisioner, and safe for concurrent use, also by several Hosts on
// one directory.
type Host struct {
	dir    string
	guests guests

	mu     sync.Mutex
	faults Faults
	reads  int // of sources, since the faults were set
	writes compute.Latency
	limits map[string]int64 // of guests' writes, by machine; they end with this process
}

var (
	_ compute.Driver      = (*Host)(nil)
	_ compute.Provisioner = (*Host)(nil)
	_ compute.Regenerator = (*Host)(nil)
	_ compute.Reshaper    = (*Host)(nil)
)

// Open uses dir, which it creates, as a host. There is nothing to close.
func Open(dir string) (*Host, error) {
	if err := os.MkdirAll(filepath.Join(dir, "machines"), 0o700); err != nil {
		return nil, err
	}
	return &Host{dir: dir}, nil
}

// Probe says what the host can do.
func (h *Host) Probe(ctx context.Context) (compute.Capabilities, error) {
	return compute.Capabilities{
		Driver: driverName, Version: "1", Accelerator: "none", LivePoint: true, ChangeTracking: true,
	}, ctx.Err()
}

// What may become part of a path: ids, points and disk names come from the
// control plane, which a host does not have to trust with its files.
var (
	machineIDs = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$`)
	diskNames  = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
	pointNames = regexp.MustCompile(`^[0-9a-z][0-9a-z.]{0,63}$`)
)

// machineDir is where all of a machine lies.
func (h *Host) machineDir(machine string) string {
	return filepath.Join(h.dir, "machines", machine)
}

// locked runs f while no other call, of any process, works on the host.
// compute.ErrBusy when the context ends before that.
func (h *Host) locked(ctx context.Context, f func() error) (err error) {
	lock, err := os.OpenFile(filepath.Join(h.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	// Closing releases the lock, as the death of the process does.
	defer func() { err = errors.Join(err, lock.Close()) }()
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) //nolint:gosec // a descriptor fits
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sim: lock: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sim: %w: %w", compute.ErrBusy, ctx.Err())
		case <-retry.C: // flock tells nobody when it becomes free
		}
	}
}

// change loads a machine's state, lets f change it, and stores it if f
// succeeds.
func (h *Host) change(ctx context.Context, machine string, f func(s *state) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.locked(ctx, func() error {
		s, err := h.load(machine)
		if err != nil {
			return err
		}
		if err := f(s); err != nil {
			return err
		}
		return h.store(s)
	})
}

// look loads a machine's state and lets f see it.
func (h *Host) look(ctx context.Context, machine string, f func(s *state) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.locked(ctx, func() error {
		s, err := h.load(machine)
		if err != nil {
			return err
		}
		return f(s)
	})
}

// Inspect says how a machine is.
func (h *Host) Inspect(ctx context.Context, machine string) (compute.State, error) {
	var found compute.State
	err := h.look(ctx, machine, func(s *state) error {
		found = compute.State{Power: s.Power, PoweredOff: s.PoweredOff, Forwards: slices.Clone(s.Machine.NIC.Forwards)}
		if s.Power != compute.Stopped {
			found.Started = s.Started
		}
		return nil
	})
	return found, err
}
