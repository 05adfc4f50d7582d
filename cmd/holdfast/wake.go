package main

import (
	"context"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/compute"
	"holdfast/store"
)

// wake starts the machines that are to run and do not: the host went down, or
// their hypervisor died, when nobody looked. Those that still run are found by
// their sockets and left alone, as are guests that have powered themselves off.
// One that does not start must not keep the others down.
func (h *host) wake(ctx context.Context) error {
	vpss, err := h.store.VPSOfHost(ctx, h.id)
	if err != nil {
		return fmt.Errorf("machines of this host: %w", err)
	}
	for _, v := range vpss {
		down, err := h.down(ctx, v)
		if err == nil && down {
			h.log.InfoContext(ctx, "starting a VPS that is to run", "vps", v.ID)
			err = h.machine.Provisioner.Start(ctx, string(v.ID))
		}
		if err != nil && !errors.Is(err, compute.ErrNotFound) {
			h.log.ErrorContext(ctx, "a VPS that is to run could not be started", "vps", v.ID, "err", err)
		}
	}
	return nil
}

// down: the customer wants the VPS to run, its guest has not said otherwise, and
// it does not. An operation that stops and starts it itself goes on with that.
func (h *host) down(ctx context.Context, v holdfast.VPS) (bool, error) {
	if v.Service != holdfast.ServiceActive || v.Desired != holdfast.PowerRunning ||
		v.Power == holdfast.PowerProvisioning || v.Power == holdfast.PowerError {
		return false, nil
	}
	for _, lock := range []holdfast.Lock{holdfast.LockData, holdfast.LockPower} {
		o, err := h.store.ActiveOperation(ctx, v.ID, lock)
		if err == nil && o.Kind.MovesPower() {
			return false, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	st, err := h.machine.Driver.Inspect(ctx, string(v.ID))
	return err == nil && st.Power == compute.Stopped && !st.PoweredOff, err
}
