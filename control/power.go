package control

import (
	"context"
	"time"

	"holdfast"
	"holdfast/store"
)

// VPSInput names a VPS by its id.
type VPSInput struct {
	VPS string `json:"vps"`
}

// ListAllVPS lists every VPS that is not terminated, of all accounts or of one.
func (c *Control) ListAllVPS(ctx context.Context, in ListVPSInput) ([]VPSInfo, error) {
	const op = "control.ListAllVPS"
	var of holdfast.AccountID
	if in.Account != "" {
		a, err := findAccount(ctx, c.store.Queries(), in.Account)
		if err != nil {
			return nil, told(op, err)
		}
		of = a.ID
	}
	all, err := c.store.AllVPS(ctx)
	if err != nil {
		return nil, told(op, err)
	}
	out := []VPSInfo{}
	for _, v := range all {
		if of == "" || v.AccountID == of {
			out = append(out, vpsInfo(v))
		}
	}
	return out, nil
}

// ListVPSInput narrows a list of VPSs to an account, by id or name.
type ListVPSInput struct {
	Account string `json:"account,omitzero"`
}

// StartVPS queues the start of a VPS.
func (c *Control) StartVPS(ctx context.Context, in VPSInput) (VPSJob, error) {
	return c.power(ctx, "control.StartVPS", in.VPS, func(tx *store.Tx, v holdfast.VPS) (VPSJob, error) {
		if err := holdfast.ServiceGate(v).Err(); err != nil {
			return VPSJob{}, err
		}
		if err := tx.SetDesired(ctx, v.ID, holdfast.PowerRunning); err != nil {
			return VPSJob{}, err
		}
		return enqueueOn(ctx, tx, v, holdfast.KindVPSStart, holdfast.LockPower, struct{}{})
	})
}

// StopVPSInput names a VPS and how to stop it.
type StopVPSInput struct {
	VPS          string `json:"vps"`
	Force        bool   `json:"force,omitzero"`
	GraceSeconds *int   `json:"graceSeconds"` // default 60
}

const (
	defaultGrace = 60
	maxGrace     = 3600
)

// StopVPS queues the stop of a VPS: asking it to power off, and by force when
// that takes too long or force is wanted.
func (c *Control) StopVPS(ctx context.Context, in StopVPSInput) (VPSJob, error) {
	seconds := defaultGrace
	set(&seconds, in.GraceSeconds)
	if in.Force {
		seconds = 0
	}
	if seconds < 0 || seconds > maxGrace {
		return VPSJob{}, Invalid([]holdfast.Field{{Pointer: "/graceSeconds", Code: holdfast.CodeInvalidValue, Detail: "This must be from 0 to 3600."}})
	}
	return c.power(ctx, "control.StopVPS", in.VPS, func(tx *store.Tx, v holdfast.VPS) (VPSJob, error) {
		if err := holdfast.ServiceGate(v).Err(); err != nil {
			return VPSJob{}, err
		}
		if err := tx.SetDesired(ctx, v.ID, holdfast.PowerStopped); err != nil {
			return VPSJob{}, err
		}
		return enqueueOn(ctx, tx, v, holdfast.KindVPSStop, holdfast.LockPower, holdfast.StopInput{Grace: time.Duration(seconds) * time.Second})
	})
}

// DeleteVPS queues the end of a VPS and its disks. Its backups stay.
func (c *Control) DeleteVPS(ctx context.Context, in VPSInput) (VPSJob, error) {
	return c.power(ctx, "control.DeleteVPS", in.VPS, func(tx *store.Tx, v holdfast.VPS) (VPSJob, error) {
		busy, err := holder(ctx, tx.Queries(), v.ID, holdfast.LockData)
		if err != nil {
			return VPSJob{}, err
		}
		gone := holdfast.Open
		if v.Service == holdfast.ServiceTerminated {
			gone = holdfast.ServiceGate(v)
		}
		if err := holdfast.First(gone, holdfast.BusyGate(busy)).Err(); err != nil {
			return VPSJob{}, err
		}
		if err := tx.SetDesired(ctx, v.ID, holdfast.PowerStopped); err != nil {
			return VPSJob{}, err
		}
		return enqueueOn(ctx, tx, v, holdfast.KindVPSDelete, holdfast.LockData, struct{}{})
	})
}

// power runs a command that no other power action, and no deletion, may meet.
// It works on a full disk: stopping and deleting make room.
func (c *Control) power(ctx context.Context, op, id string, do func(*store.Tx, holdfast.VPS) (VPSJob, error)) (VPSJob, error) {
	var out VPSJob
	err := c.urgent(ctx, op, func(tx *store.Tx) error {
		q := tx.Queries()
		none := holdfast.E(holdfast.CodeVPSNotFound, "There is no such VPS.")
		vps, err := holdfast.ParseID[holdfast.VPSID](id)
		if err != nil {
			return none
		}
		v, err := q.VPS(ctx, vps)
		if err != nil {
			return missing(err, none.Code, none.Msg)
		}
		busy, err := movesPower(ctx, q, v.ID)
		if err != nil {
			return err
		}
		if err := holdfast.BusyGate(busy).Err(); err != nil {
			return err
		}
		out, err = do(tx, v)
		return err
	})
	return out, err
}
