package machine

import (
	"context"
	"errors"

	"holdfast"
	"holdfast/compute"
	"holdfast/operation"
)

// Reshape is the handler of holdfast.KindVPSReshape. Once begun it cannot be
// cancelled: it is quick, and the control plane must know which disks there are.
func (h *Host) Reshape(_ context.Context, run *operation.Run) (any, error) {
	const op = "machine.Reshape"
	var in holdfast.ReshapeInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	if h.Reshaper == nil {
		return nil, holdfast.E(holdfast.CodeVPSNotReady, "The host of this VPS cannot change its disks.")
	}
	ctx, vps := run.Held(), string(run.Operation.VPSID)
	var err error
	switch in.Change {
	case holdfast.ReshapeGrow:
		err = h.Reshaper.Grow(ctx, vps, in.Disk.Name, in.Disk.SizeBytes)
	case holdfast.ReshapeAdd:
		err = h.Reshaper.AddDisk(ctx, vps, compute.Disk{Name: in.Disk.Name, SizeBytes: in.Disk.SizeBytes})
	case holdfast.ReshapeRemove:
		err = h.Reshaper.RemoveDisk(ctx, vps, in.Disk.Name)
	default:
		return nil, holdfast.E(holdfast.CodeInternal, "The host does not know this change of disks.")
	}
	if errors.Is(err, compute.ErrState) {
		return nil, holdfast.Wrap(holdfast.CodeVPSStateChanged, op, "The VPS is not stopped, or has snapshots, which are of its disks as they were.", err)
	}
	if err != nil {
		return nil, Explain(op, err)
	}
	return struct{}{}, nil
}
