package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"holdfast/compute"
)

// quitTimeout is how long QEMU may take to end in order before it is killed.
const quitTimeout = 10 * time.Second

// Inspect says how the machine is.
func (d *Driver) Inspect(ctx context.Context, id string) (compute.State, error) {
	m, err := d.load(id)
	if err != nil {
		return compute.State{Power: compute.Unknown}, err
	}
	unlock, err := d.lock(ctx, id)
	if err != nil {
		return compute.State{Power: compute.Unknown}, err
	}
	defer unlock()
	st := compute.State{Power: compute.Stopped, Forwards: m.NIC.Forwards}
	p, alive, err := d.running(id)
	if err != nil {
		return st, err
	}
	if !alive {
		st.PoweredOff, err = d.poweredOff(id)
		return st, errors.Join(err, d.forget(id)) // what a process that was killed has left
	}
	st.PID, st.Started, st.Power = p.PID, p.started(), compute.Unknown
	status, err := d.statusOf(ctx, id, p)
	if err != nil {
		return st, err
	}
	if status == ended {
		st = compute.State{Power: compute.Stopped, Forwards: m.NIC.Forwards}
		st.PoweredOff, err = d.poweredOff(id)
		return st, err
	}
	st.Power = powerOf(status)
	if st.Power == compute.Stopped {
		st.PoweredOff = true // with its process kept by a point in time
	}
	return st, d.trim(d.file(id, consoleFile))
}

// What QEMU's log says when the guest powers itself off (qapi/run-state.json,
// ShutdownCause guest-shutdown). A hypervisor that was taken over can write it,
// too: then its guest is not started by itself, and that is all.
const (
	traceShutdown = "qemu_system_shutdown_request"
	guestShutdown = traceShutdown + " reason=6\n"
)

// poweredOff says whether the guest of a machine without a process powered itself
// off. The log is that of the last process, and outlives the host's reboot.
func (d *Driver) poweredOff(id string) (bool, error) {
	said, err := readTail(d.file(id, logQEMU), 64<<10)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // it never ran
	}
	return bytes.Contains(said, []byte(guestShutdown)), err
}

// ended is the status of a machine whose process is gone; not one of QEMU's.
const ended = "ended"

// powerOf translates QEMU's run states. A guest that powered off while a point
// in time keeps its process is stopped to everyone but us.
func powerOf(status string) compute.PowerState {
	switch status {
	case "running":
		return compute.Running
	case "shutdown", ended:
		return compute.Stopped
	case "paused", "io-error", "suspended", "prelaunch", "watchdog", "debug":
		return compute.Paused
	}
	return compute.Unknown
}

// Start boots the machine. A point in time of the stopped machine is ended
// first: its backup finds ErrPointLost and the customer is not kept waiting.
// A disk that is being filled refuses with ErrBusy.
func (d *Driver) Start(ctx context.Context, id string) error {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	p, alive, err := d.running(id)
	if err != nil {
		return err
	}
	if alive {
		status, err := d.statusOf(ctx, id, p)
		if err != nil || powerOf(status) != compute.Stopped {
			return err
		}
	}
	if fills, err := d.fills(id); err != nil || len(fills) > 0 {
		return errors.Join(err, fmt.Errorf("qemu: a disk of %s is being filled: %w", id, compute.ErrBusy))
	}
	if err := d.endLeftover(ctx, m, nil); err != nil {
		// The customer's start comes first: what is left is settled by the next
		// point, as long as nobody else has the disks open.
		d.log.Warn("point in time was not ended in order", "machine", id, "error", err)
	}
	if alive {
		if err := d.end(ctx, id, p); err != nil {
			return err
		}
	}
	if err := d.killPointDaemon(ctx, id); err != nil {
		return err
	}
	if _, err := d.settled(ctx, m); err != nil {
		d.log.Warn("layers of disks were not settled", "machine", id, "error", err) // the same holds
	}
	return d.boot(ctx, m)
}

func (d *Driver) statusOf(ctx context.Context, id string, p process) (string, error) {
	s, err := d.connect(ctx, id, p)
	if err != nil {
		return p.endedOr(ctx, err)
	}
	defer s.Close() //nolint:errcheck // never fails
	status, err := s.status(ctx)
	if err != nil {
		return p.endedOr(ctx, err)
	}
	return status, nil
}

// endedOr tells a conversation that failed because the process is on its way
// out from all others.
func (p process) endedOr(ctx context.Context, err error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if p.wait(ctx) == nil {
		return ended, nil
	}
	return "", err
}

func (d *Driver) boot(ctx context.Context, m compute.Machine) error {
	if err := d.ownDir(d.runDir(m.ID)); err != nil {
		return err
	}
	sockets := []string{d.socket(m.ID, socketQMP), d.socket(m.ID, socketWatchdog), d.socket(m.ID, socketAgent)}
	if err := removeAll(sockets...); err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	console := d.file(m.ID, consoleFile)
	f, err := os.OpenFile(console, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600) //nolint:gosec // of a checked id
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return noSpace(fmt.Errorf("qemu: %w", err))
	}
	if err := errors.Join(d.give(console, 0o600), d.trim(console)); err != nil {
		return err
	}
	defined, err := d.defined(m.ID)
	if err != nil {
		return err
	}
	l, err := d.layers(m.ID, current)
	if err != nil {
		return err
	}
	s, err := d.spawn(ctx, daemon{
		argv: d.argv(m, defined.Disks, l), log: d.file(m.ID, logQEMU), record: d.file(m.ID, recordQEMU), socket: sockets[0],
	})
	if err != nil {
		return err
	}
	if err := s.countWrites(ctx, m); err != nil {
		d.log.Warn("the guest's write latency is not measured", "machine", m.ID, "error", err)
	}
	return s.Close()
}

// Stop asks the guest to power off; after grace it ends the machine by force.
// A point in time of it is ended before force is used, so that change tracking
// survives; a guest that powers off by itself leaves the point whole.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	if _, err := d.defined(id); err != nil {
		return err
	}
	if grace > 0 {
		if off, err := d.powerdown(ctx, id, grace); off || err != nil {
			return err
		}
	}
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	p, alive, err := d.running(id)
	if err != nil || !alive {
		return err
	}
	if err := d.endLeftover(ctx, m, nil); err != nil {
		d.log.Warn("point in time was not ended in order", "machine", id, "error", err)
	}
	return d.end(ctx, id, p)
}

// powerdown presses the power button and waits until the guest is off. The lock
// is not kept meanwhile: a backup of the machine goes on.
func (d *Driver) powerdown(ctx context.Context, id string, grace time.Duration) (off bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	pressed := false
	for {
		status, p, err := d.press(ctx, id, !pressed)
		switch {
		case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return false, nil
		case err != nil:
			return false, err
		case powerOf(status) == compute.Stopped:
			return true, nil
		}
		pressed = true
		// The end of the process is an event; that of a guest whose process a
		// point in time keeps is looked for.
		wctx, wcancel := context.WithTimeout(ctx, 500*time.Millisecond)
		werr := p.wait(wctx)
		wcancel()
		if werr == nil {
			return true, nil
		}
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return false, ctx.Err()
		}
		if ctx.Err() != nil {
			return false, nil
		}
	}
}

// press sends the power button if wanted, and says how the machine is.
func (d *Driver) press(ctx context.Context, id string, button bool) (string, process, error) {
	unlock, err := d.lock(ctx, id)
	if err != nil {
		return "", process{}, err
	}
	defer unlock()
	p, alive, err := d.running(id)
	if err != nil || !alive {
		return ended, p, err
	}
	s, err := d.connect(ctx, id, p)
	if err == nil {
		defer s.Close() //nolint:errcheck // never fails
	}
	if err == nil && button {
		err = s.Execute(ctx, "system_powerdown", nil, nil)
	}
	status := ""
	if err == nil {
		status, err = s.status(ctx)
	}
	if err != nil {
		status, err = p.endedOr(ctx, err)
	}
	return status, p, err
}

// end ends the machine's process: in order, so that bitmaps are saved, or else
// by force. The caller has the lock.
func (d *Driver) end(ctx context.Context, id string, p process) error {
	qctx, cancel := context.WithTimeout(ctx, quitTimeout)
	defer cancel()
	s, err := d.connect(qctx, id, p)
	if err == nil {
		err = s.quit(qctx)
		_ = s.Close() // never fails
	}
	if err != nil && p.alive() {
		d.log.Warn("hypervisor process is ended by force", "machine", id, "pid", p.PID, "error", err)
	}
	if err := p.kill(ctx); err != nil {
		return err
	}
	return d.forget(id)
}

// forget removes the record and the sockets of a machine's process that is gone.
// The caller has the lock.
func (d *Driver) forget(id string) error {
	return removeAll(d.file(id, recordQEMU), d.socket(id, socketQMP), d.socket(id, socketWatchdog), d.socket(id, socketAgent))
}
