package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"holdfast"
	"holdfast/store"
)

// restoreResult is the result of a restore to a Cloud VM on the wire.
type restoreResult struct {
	VPSID           holdfast.VPSID `json:"vpsId"`
	Name            string         `json:"name"`
	Region          string         `json:"region"`
	PrimaryIP       *string        `json:"primaryIp"`
	BytesWritten    int64          `json:"bytesWritten"`
	DiskGrowth      []diskGrowth   `json:"diskGrowth"` // of disks larger than the backup's
	DurationSeconds float64        `json:"durationSeconds"`
}

// vpsResult is the result of operations on a VPS's power and existence.
type vpsResult struct {
	VPSID      holdfast.VPSID      `json:"vpsId"`
	PowerState holdfast.PowerState `json:"powerState"`
}

func restoreDone(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	var r holdfast.RestoreReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	if r.BytesWritten < 0 {
		return nil, fmt.Errorf("%w: %d bytes written", errRefused, r.BytesWritten)
	}
	growth, err := growthOf(r.Growth)
	if err != nil {
		return nil, err
	}
	if err := checkMachine(r.MachineReport); err != nil {
		return nil, err
	}
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if errors.Is(err, store.ErrNotFound) || err == nil && v.Service == holdfast.ServiceTerminated {
		return nil, fmt.Errorf("%w: the VPS is gone", errRefused)
	}
	if err != nil {
		return nil, err
	}
	out := restoreResult{VPSID: v.ID, Name: v.Name, Region: v.Region, BytesWritten: r.BytesWritten, DiskGrowth: growth, DurationSeconds: e.seconds()}
	if v.PrimaryIP != "" {
		out.PrimaryIP = &v.PrimaryIP
	}
	return out, e.born(ctx, v, r.MachineReport)
}

// restoreFailed takes the new VPS away, so that it neither shows nor counts nor
// costs, and has its host clear away what it may hold of it, if it was begun.
func restoreFailed(ctx context.Context, e *ending) error {
	n, err := e.tx.CountBackups(ctx, e.op.VPSID)
	if err != nil {
		return err
	}
	if n == 0 {
		err = gone(e.tx.DeleteVPS(ctx, e.op.VPSID))
	} else {
		err = gone(e.tx.SetService(ctx, e.op.VPSID, holdfast.ServiceTerminated))
	}
	if err != nil || !e.begun() {
		return err
	}
	return e.queue(ctx, holdfast.KindVPSDelete, 0)
}

func vpsCreated(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	r, err := readMachineReport(raw)
	if err != nil {
		return nil, err
	}
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if err != nil {
		return vpsResult{e.op.VPSID, r.Power}, gone(err)
	}
	return vpsResult{v.ID, r.Power}, e.born(ctx, v, r)
}

// vpsCreateFailed leaves a VPS that its operator sees, and can delete.
func vpsCreateFailed(ctx context.Context, e *ending) error {
	return gone(e.tx.SetPower(ctx, e.op.VPSID, holdfast.PowerError))
}

func powerDone(ctx context.Context, e *ending, raw json.RawMessage) (any, error) {
	r, err := readMachineReport(raw)
	if err != nil {
		return nil, err
	}
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if err != nil {
		return vpsResult{e.op.VPSID, r.Power}, gone(err)
	}
	return vpsResult{v.ID, r.Power}, e.report(ctx, v, r)
}

// powerFailed changes nothing: what was known of the VPS before is still the
// best that is known. Of one that was cancelled before it was begun nothing is
// wanted any more: the VPS is to be as it is.
func powerFailed(ctx context.Context, e *ending) error {
	if e.begun() {
		return nil
	}
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if err != nil || v.Service == holdfast.ServiceTerminated {
		return gone(err)
	}
	switch v.Power { //nolint:exhaustive // of the others it is not known
	case holdfast.PowerRunning, holdfast.PowerPaused:
		return e.tx.SetDesired(ctx, v.ID, holdfast.PowerRunning)
	case holdfast.PowerStopped:
		return e.tx.SetDesired(ctx, v.ID, holdfast.PowerStopped)
	}
	return nil
}

// vpsDeleted keeps the row: the VPS's backups are reached through it.
func vpsDeleted(ctx context.Context, e *ending, _ json.RawMessage) (any, error) {
	id := e.op.VPSID
	err := errors.Join(
		gone(e.tx.SetService(ctx, id, holdfast.ServiceTerminated)),
		gone(e.tx.SetPower(ctx, id, holdfast.PowerStopped)),
		gone(e.tx.SetPorts(ctx, id, nil)),
		e.tx.DeleteGenerations(ctx, id),
		e.tx.DeleteAllSnapshots(ctx, id))
	return vpsResult{id, holdfast.PowerStopped}, err
}

// vpsDeleteFailed leaves a VPS that is still there to its operator. What is left
// of one that is gone for everybody else must still be cleared away.
func vpsDeleteFailed(ctx context.Context, e *ending) error {
	v, err := e.tx.VPS(ctx, e.op.VPSID)
	if errors.Is(err, store.ErrNotFound) || err == nil && v.Service == holdfast.ServiceTerminated {
		return again(ctx, e)
	}
	return err
}

// born writes what a host says of a new VPS.
func (e *ending) born(ctx context.Context, v holdfast.VPS, r holdfast.MachineReport) error {
	if v.Service == holdfast.ServicePending {
		if err := e.tx.SetService(ctx, v.ID, holdfast.ServiceActive); err != nil {
			return err
		}
	}
	return e.report(ctx, v, r)
}

// report writes what a host says of a VPS. Ports that it does not tell stay.
func (e *ending) report(ctx context.Context, v holdfast.VPS, r holdfast.MachineReport) error {
	if v.Service == holdfast.ServiceTerminated {
		return nil
	}
	if err := e.tx.SetPower(ctx, v.ID, r.Power); err != nil || r.Ports == nil {
		return err
	}
	return e.tx.SetPorts(ctx, v.ID, r.Ports)
}

func readMachineReport(raw json.RawMessage) (holdfast.MachineReport, error) {
	var r holdfast.MachineReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errRefused, err)
	}
	return r, checkMachine(r)
}

// checkMachine takes nothing from a host that cannot be.
func checkMachine(r holdfast.MachineReport) error {
	states := []holdfast.PowerState{holdfast.PowerRunning, holdfast.PowerStopped, holdfast.PowerPaused, holdfast.PowerUnknown}
	if !slices.Contains(states, r.Power) {
		return fmt.Errorf("%w: the power is %q", errRefused, r.Power)
	}
	if len(r.Ports) > maxPorts {
		return fmt.Errorf("%w: %d ports", errRefused, len(r.Ports))
	}
	for _, p := range r.Ports {
		if _, err := netip.ParseAddr(p.Address); err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		if min(p.HostPort, p.GuestPort) < 1 || max(p.HostPort, p.GuestPort) > 65535 {
			return fmt.Errorf("%w: port %d for %d", errRefused, p.HostPort, p.GuestPort)
		}
	}
	return nil
}
