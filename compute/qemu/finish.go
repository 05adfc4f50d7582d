package qemu

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdfast/compute"
)

// End releases the point in time and settles change tracking by the outcome.
func (d *Driver) End(ctx context.Context, h compute.Handle, outcome compute.Outcome) error {
	if _, err := stateOf(h); err != nil {
		return err
	}
	m, unlock, err := d.enter(ctx, h.Machine)
	if errors.Is(err, compute.ErrNotFound) {
		return nil // Delete took everything with it
	}
	if err != nil {
		return err
	}
	defer unlock()
	now, found, err := d.leftover(m.ID)
	if err != nil {
		return err
	}
	if !found || now.Point != h.Point {
		return nil // it was ended, by us, Start, Stop, or a later Begin
	}
	return d.endPoint(ctx, m, now, outcome)
}

// endPoint does End. It begins from whatever a former try, or the death of any
// process, has left. The caller has the lock.
func (d *Driver) endPoint(ctx context.Context, m compute.Machine, h compute.Handle, outcome compute.Outcome) error {
	st, err := stateOf(h)
	if err != nil {
		return err
	}
	s, err := d.attach(ctx, m, h.Point)
	switch {
	case err == nil:
		defer s.Close() //nolint:errcheck // never fails
		if err := d.settleAll(ctx, s, m, h, st, outcome); err != nil {
			return fmt.Errorf("qemu: ending point %s: %w", h.Point, err)
		}
	case ctx.Err() != nil:
		return err
	default:
		// Disks that cannot be opened have no bitmaps to settle: the next point
		// finds them as they are, and judges them by itself.
		d.log.Warn("change tracking was not settled", "machine", m.ID, "point", h.Point, "error", err)
		if p, alive, perr := d.running(m.ID); perr != nil || alive {
			return errors.Join(fmt.Errorf("qemu: process %d does not answer: %w", p.PID, err), perr)
		}
		if err := d.freeWrites(ctx, nil, m); err != nil {
			return err
		}
	}
	if err := d.removeTraces(m, h.Point); err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	d.at("qemu.end.removed")
	return removeAll(d.file(m.ID, pointFile))
}

func (d *Driver) settleAll(ctx context.Context, s *session, m compute.Machine, h compute.Handle, st pointState, outcome compute.Outcome) error {
	if h.WriteBytesPerSecond > 0 {
		free := s // of its throttle
		if !s.live {
			free = nil
		}
		if err := d.freeWrites(ctx, free, m); err != nil {
			return err
		}
	}
	nodes, err := s.detach(ctx, m)
	if err != nil {
		return err
	}
	d.at("qemu.end.detached")
	var actions []action
	for _, hd := range h.Disks {
		actions = append(actions, settle(s.layers.top(hd.Name), nodes[s.layers.top(hd.Name)], h.Point, hd.Parent, outcome)...)
	}
	if err := s.transaction(ctx, actions); err != nil {
		return err
	}
	d.at("qemu.end.settled")
	if !s.live {
		if err := s.quit(ctx); err != nil {
			return err
		}
		return removeAll(d.file(m.ID, recordPoint))
	}
	if err := s.Execute(ctx, "set-action", args{"shutdown": "poweroff"}, nil); err != nil {
		return err
	}
	if err := s.countWrites(ctx, m); err != nil {
		d.log.Warn("the guest's write latency is not measured", "machine", m.ID, "error", err)
	}
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	switch {
	case powerOf(status) == compute.Stopped:
		_ = s.Close() // never fails; end has a conversation of its own
		return d.end(ctx, m.ID, s.proc)
	case status == "paused" && st.Resumes && !st.Taken && st.Proc == s.proc:
		// Our pause, and the watchdog died with us.
		err = s.Execute(ctx, "cont", nil, nil)
	}
	if st.Freezes && !st.Taken && st.Proc == s.proc {
		d.thaw(m.ID) // our freeze, the same
	}
	return err
}

// detach takes away everything that a point in time added to the process, and
// returns the nodes that were there with their bitmaps. It does not matter how
// much of it is there.
func (s *session) detach(ctx context.Context, m compute.Machine) (map[string][]bitmap, error) {
	if err := s.unserve(ctx); err != nil {
		return nil, err
	}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, err
	}
	if !s.live {
		return nodes, nil
	}
	// What reads before what it reads from: accesses, filters, scratch.
	if err := s.delPointNodes(ctx, nodes, "a"); err != nil {
		return nil, err
	}
	for _, dk := range m.Disks {
		node, err := s.drive(ctx, dk.Name)
		if err != nil {
			return nil, err
		}
		top := s.layers.top(dk.Name)
		if node == top {
			continue
		}
		if err := s.setDrive(ctx, dk.Name, top); err != nil {
			return nil, err
		}
	}
	return nodes, errors.Join(s.delPointNodes(ctx, nodes, "c"), s.delPointNodes(ctx, nodes, "s"))
}

func (s *session) delPointNodes(ctx context.Context, nodes map[string][]bitmap, kind string) error {
	for name := range nodes {
		if pointNode.MatchString(name) && strings.HasPrefix(name, "hf"+kind) {
			if err := s.delNode(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Recover proves that the point in time is still what it was.
func (d *Driver) Recover(ctx context.Context, h compute.Handle) error {
	st, err := stateOf(h)
	if err != nil {
		return err
	}
	m, unlock, err := d.enter(ctx, h.Machine)
	if errors.Is(err, compute.ErrNotFound) {
		return lost("the machine is gone")
	}
	if err != nil {
		return err
	}
	defer unlock()
	if !st.Proc.alive() {
		return lost("its process has ended")
	}
	if err := d.proveNodes(ctx, m, h, st); err != nil {
		return err
	}
	for _, hd := range h.Disks {
		if err := d.proveReadable(ctx, h, st, hd); err != nil {
			return err
		}
	}
	return nil
}

func lost(why string) error { return fmt.Errorf("qemu: %s: %w", why, compute.ErrPointLost) }

func (d *Driver) proveNodes(ctx context.Context, m compute.Machine, h compute.Handle, st pointState) error {
	socket := d.daemonSocket(m.ID, h.Point)
	if st.Live {
		socket = d.socket(m.ID, socketQMP)
	}
	s, err := dialSession(ctx, socket, st.Proc)
	if err != nil {
		if !st.Proc.alive() {
			return lost("its process has ended")
		}
		return err
	}
	defer s.Close() //nolint:errcheck // never fails
	exports, err := s.exports(ctx)
	if err != nil {
		return err
	}
	for i, hd := range h.Disks {
		n := namesOf(h.Point, i)
		if !exports[n.export] {
			return lost(hd.Name + " is not served any more")
		}
		if !st.Live {
			continue
		}
		if node, err := s.drive(ctx, hd.Name); err != nil {
			return err
		} else if node != n.filter {
			return lost("the guest writes past the filter of " + hd.Name)
		}
	}
	if h.WriteBytesPerSecond > 0 && st.Live {
		// A predecessor's limit ended with it.
		return d.limitWrites(ctx, s, m, h.WriteBytesPerSecond)
	}
	return nil
}
