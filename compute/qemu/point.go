package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"holdfast/compute"
)

// pointState is the opaque part of a Handle.
type pointState struct {
	// Live is set when the machine's QEMU serves the point, not a daemon.
	Live bool `json:"live"`
	// Proc serves the point; zero until it is known.
	Proc process `json:"proc"`
	// Resumes is set when the guest ran, so that a pause is ours.
	Resumes bool `json:"resumes,omitempty"`
	// Freezes is set when the guest's file systems are to be frozen for it.
	Freezes bool `json:"freezes,omitempty"`
	// Before counts the guest's writes from the last point's end on.
	Before compute.Latency `json:"before,omitzero"`
	// Taken is set when the point in time exists.
	Taken bool `json:"taken,omitempty"`
}

const handleVersion = 1

// pointFile keeps the Handle of the machine's point in time until it is ended,
// so that Start, Stop and the next Begin can end one whose owner is gone.
const pointFile = "point.json"

// cleanupTimeout bounds what is done after a caller has given up.
const cleanupTimeout = 30 * time.Second

// stateOf refuses Handles of others: they come from the database, and a newer
// version of this program may have written them.
func stateOf(h compute.Handle) (pointState, error) {
	var st pointState
	if h.Driver != driverName || h.Version != handleVersion {
		return st, fmt.Errorf("qemu: handle of driver %.20q, version %d", h.Driver, h.Version)
	}
	if err := errors.Join(checkID(h.Machine), checkPoint(h.Point)); err != nil {
		return st, err
	}
	if len(h.State) > 0 {
		if err := json.Unmarshal(h.State, &st); err != nil {
			return st, fmt.Errorf("qemu: handle: %w", err)
		}
	}
	return st, nil
}

// taking is a point in time while it is being taken.
type taking struct {
	d     *Driver
	m     compute.Machine
	h     compute.Handle
	st    pointState
	plans []diskPlan
	save  func(compute.Handle) error
	limit int64 // of the guest's writes, in bytes per second
}

// Begin takes a point in time of all disks of a machine.
func (d *Driver) Begin(ctx context.Context, req compute.PointRequest, save func(compute.Handle) error) (compute.Handle, error) {
	if err := checkPoint(req.Point); err != nil {
		return compute.Handle{}, err
	}
	m, unlock, err := d.enter(ctx, req.Machine)
	if err != nil {
		return compute.Handle{}, err
	}
	defer unlock()
	if fills, err := d.fills(m.ID); err != nil || len(fills) > 0 {
		return compute.Handle{}, errors.Join(err, fmt.Errorf("qemu: a disk of %s is being filled: %w", m.ID, compute.ErrBusy))
	}
	if err := d.endLeftover(ctx, m, req.Parents); err != nil {
		return compute.Handle{}, err
	}
	if _, err := d.settled(ctx, m); err != nil {
		return compute.Handle{}, err
	}
	t := &taking{d: d, m: m, save: save, limit: req.WriteBytesPerSecond, h: compute.Handle{
		Version: handleVersion, Driver: driverName, Machine: m.ID, Point: req.Point,
	}}
	for _, dk := range m.Disks {
		t.h.Disks = append(t.h.Disks, compute.HandleDisk{Name: dk.Name, SizeBytes: dk.SizeBytes})
	}
	if err = t.run(ctx, req.Parents); err == nil {
		return t.h, nil
	}
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if cerr := d.endPoint(cctx, m, t.h, compute.Abandoned); cerr != nil {
		err = errors.Join(err, fmt.Errorf("qemu: undoing the point in time: %w", cerr))
	}
	return compute.Handle{}, err
}

// journal saves the Handle, here and with the caller, before the next act.
func (t *taking) journal() error {
	state, err := json.Marshal(t.st)
	if err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	t.h.State = state
	if err := writeJSON(t.d.file(t.m.ID, pointFile), t.h); err != nil {
		return err
	}
	// The caller may keep what it gets.
	h := t.h
	h.Disks = slices.Clone(h.Disks)
	return t.save(h)
}

func (t *taking) run(ctx context.Context, parents []compute.Point) error {
	if err := t.journal(); err != nil {
		return err
	}
	s, err := t.d.attach(ctx, t.m, t.h.Point)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // never fails
	t.st.Live, t.st.Proc = s.live, s.proc
	if err := t.measure(ctx, s); err != nil {
		return err
	}
	if err := t.plan(ctx, s, parents); err != nil {
		return err
	}
	if s.live {
		t.beginCounting(ctx, s)
		status, err := s.status(ctx)
		if err != nil {
			return err
		}
		if t.st.Resumes = status == "running"; t.st.Resumes {
			if t.h.NotFrozen, err = t.d.whyNotFreeze(ctx, s); err != nil {
				return err
			}
			t.st.Freezes = t.h.NotFrozen == ""
		}
		t.h.WriteBytesPerSecond = t.limit
	}
	if err := t.journal(); err != nil {
		return err
	}
	if t.h.WriteBytesPerSecond > 0 {
		if err := t.d.limitWrites(ctx, s, t.m, t.h.WriteBytesPerSecond); err != nil {
			return fmt.Errorf("qemu: limit the guest's writes: %w", err)
		}
		t.d.at("qemu.begin.throttled")
	}
	if s.live {
		err = t.live(ctx, s)
	} else {
		err = t.export(ctx, s)
	}
	if err != nil {
		return err
	}
	t.st.Taken = true
	return t.journal()
}

// export begins the bitmaps of a stopped machine and serves its disks as they
// are: nothing writes to them while the daemon has them.
func (t *taking) export(ctx context.Context, s *session) error {
	if err := s.transaction(ctx, t.begin()); err != nil {
		return err
	}
	t.d.at("qemu.begin.offline")
	return t.serve(ctx, s, func(i int) string { return s.layers.top(t.m.Disks[i].Name) }, false)
}

func (t *taking) serve(ctx context.Context, s *session, node func(i int) string, trim bool) error {
	if err := s.serve(ctx, t.d.exportSocket(t.m.ID, t.h.Point)); err != nil {
		return err
	}
	for i, dk := range t.m.Disks {
		a := args{
			"type": "nbd", "id": namesOf(t.h.Point, i).export, "node-name": node(i),
			"name": dk.Name, "writable": trim,
		}
		if p := t.h.Disks[i].Parent; p != "" {
			a["bitmaps"] = []args{{"node": s.layers.top(dk.Name), "name": bitmapOf(p)}}
		}
		if err := s.Execute(ctx, "block-export-add", a, nil); err != nil {
			return err
		}
	}
	return nil
}

// killPointDaemon makes sure that no storage daemon of a point has the disks
// open.
func (d *Driver) killPointDaemon(ctx context.Context, id string) error {
	var p process
	if _, err := readJSON(d.file(id, recordPoint), &p); err != nil {
		return err
	}
	if err := p.kill(ctx); err != nil {
		return err
	}
	return removeAll(d.file(id, recordPoint))
}

func (d *Driver) leftover(id string) (h compute.Handle, found bool, err error) {
	found, err = readJSON(d.file(id, pointFile), &h)
	return h, found, err
}

// endLeftover ends the machine's point in time if there is one. Its backup is
// committed if it is a parent now.
func (d *Driver) endLeftover(ctx context.Context, m compute.Machine, parents []compute.Point) error {
	h, found, err := d.leftover(m.ID)
	if err != nil || !found {
		return err
	}
	outcome := compute.Abandoned
	if slices.Contains(parents, h.Point) {
		outcome = compute.Committed
	}
	return d.endPoint(ctx, m, h, outcome)
}

// removeTraces removes the files of a point in time.
func (d *Driver) removeTraces(m compute.Machine, p compute.Point) error {
	paths := []string{d.exportSocket(m.ID, p), d.daemonSocket(m.ID, p)}
	for _, dk := range m.Disks {
		paths = append(paths, d.scratchPath(m.ID, p, dk.Name))
	}
	err := removeAll(paths...)
	// Of the machine's points there is one at a time: its directory is empty now.
	if rerr := os.Remove(d.scratchDir(m.ID)); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
