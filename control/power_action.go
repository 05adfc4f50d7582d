package control

import (
	"context"
	"time"

	"holdfast"
	"holdfast/store"
)

// PowerAction is what a customer may do to the power of a VPS.
type PowerAction string

// The power actions of the wire.
const (
	PowerStart    PowerAction = "start"
	PowerShutdown PowerAction = "shutdown" // asks the guest, and stops it by force when that takes too long
	PowerStop     PowerAction = "stop"     // by force at once
	PowerRestart  PowerAction = "restart"  // shutdown, then start
	PowerReset    PowerAction = "reset"    // stop, then start
)

// powerWork is the operation of an action.
type powerWork struct {
	kind    holdfast.Kind
	grace   time.Duration
	desired holdfast.PowerState
}

var powerWorks = map[PowerAction]powerWork{
	PowerStart:    {holdfast.KindVPSStart, 0, holdfast.PowerRunning},
	PowerShutdown: {holdfast.KindVPSStop, defaultGrace * time.Second, holdfast.PowerStopped},
	PowerStop:     {holdfast.KindVPSStop, 0, holdfast.PowerStopped},
	PowerRestart:  {holdfast.KindVPSRestart, defaultGrace * time.Second, holdfast.PowerRunning},
	PowerReset:    {holdfast.KindVPSReset, 0, holdfast.PowerRunning},
}

// powerFacts are what the gates of a VPS's power look at.
type powerFacts struct {
	caller  Caller
	account holdfast.Account
	vps     holdfast.VPS
	hostUp  bool
	busy    *holdfast.Operation // that moves its power
}

func readPower(ctx context.Context, q *store.Queries, caller Caller, id string) (powerFacts, error) {
	f := powerFacts{caller: caller}
	var err error
	if f.vps, err = ownVPS(ctx, q, caller, id); err != nil {
		return f, err
	}
	if f.account, err = q.Account(ctx, f.vps.AccountID); err != nil {
		return f, err
	}
	if f.hostUp, _, err = hostFacts(ctx, q, f.vps.HostID); err != nil {
		return f, err
	}
	f.busy, err = movesPower(ctx, q, f.vps.ID)
	return f, err
}

// movesPower is the operation that power actions on a VPS wait for; nil: there is
// none. A backup does not stand in the way of power.
func movesPower(ctx context.Context, q *store.Queries, vps holdfast.VPSID) (*holdfast.Operation, error) {
	for _, lock := range []holdfast.Lock{holdfast.LockPower, holdfast.LockData} {
		o, err := holder(ctx, q, vps, lock)
		if err != nil || o != nil && (lock == holdfast.LockPower || o.Kind.MovesPower()) {
			return o, err
		}
	}
	return nil, nil
}

// gate is that of one action.
func (f *powerFacts) gate(a PowerAction) holdfast.Gate {
	state := holdfast.Open
	switch stopped := f.vps.Power == holdfast.PowerStopped; {
	case a != PowerStart && stopped:
		state = holdfast.Shut(holdfast.CodeVPSNotReady, "The VPS is stopped. Start it.")
	case a == PowerStart && !stopped && f.vps.Power != holdfast.PowerUnknown:
		state = holdfast.Shut(holdfast.CodeVPSNotReady, "The VPS is running already.")
	}
	return holdfast.First(holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopePowerVM), accountGate(f.account),
		holdfast.ServiceGate(f.vps), holdfast.BusyGate(f.busy), state, holdfast.HostGate(f.hostUp))
}

func (f *powerFacts) gates() PowerGates {
	return PowerGates{
		Start: f.gate(PowerStart), Shutdown: f.gate(PowerShutdown), Stop: f.gate(PowerStop),
		Restart: f.gate(PowerRestart), Reset: f.gate(PowerReset),
	}
}

// Power queues a power action on a VPS of the caller's; force has a restart ask
// nobody. It works on a full disk.
func (c *Control) Power(ctx context.Context, caller Caller, vps string, a PowerAction, force bool, o *Once) (Accepted, error) {
	return c.onceBy(ctx, c.urgent, "control.Power", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		f, err := readPower(ctx, tx.Queries(), caller, vps)
		if err != nil {
			return holdfast.Operation{}, err
		}
		if err := f.gate(a).Err(); err != nil {
			return holdfast.Operation{}, err
		}
		work := powerWorks[a]
		if force {
			work.grace = 0
		}
		if err := tx.SetDesired(ctx, f.vps.ID, work.desired); err != nil {
			return holdfast.Operation{}, err
		}
		return enqueue(ctx, tx, holdfast.Operation{
			Kind: work.kind, AccountID: f.vps.AccountID, VPSID: f.vps.ID, HostID: f.vps.HostID, KeyID: caller.Key, Lock: holdfast.LockPower,
		}, holdfast.StopInput{Grace: work.grace})
	})
}
