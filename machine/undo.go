package machine

import (
	"context"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/compute"
	"holdfast/operation"
)

// Undo is the handler of holdfast.KindRestoreUndo: the disks from before a restore
// come back in force.
func (h *Host) Undo(ctx context.Context, run *operation.Run) (any, error) {
	var in holdfast.UndoInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	power, err := h.Exchange(ctx, run, in.Generation, in.Grace, func(message string) { run.Progress(0, 0, message) })
	if err != nil {
		return nil, err
	}
	return holdfast.MachineReport{Power: power}, nil
}

// DropGeneration is the handler of holdfast.KindGenerationDrop.
func (h *Host) DropGeneration(ctx context.Context, run *operation.Run) (any, error) {
	var in holdfast.GenerationInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	err := h.Regenerator.Drop(ctx, string(run.Operation.VPSID), in.Generation)
	switch {
	case errors.Is(err, compute.ErrNotFound):
		return struct{}{}, nil // it went with its VPS
	case errors.Is(err, compute.ErrState):
		return nil, holdfast.Wrap(holdfast.CodeVPSStateChanged, "machine.DropGeneration", "These disks of the VPS are in force on its host.", err)
	case err != nil:
		return nil, Explain("machine.DropGeneration", fmt.Errorf("machine: drop: %w", err))
	}
	return struct{}{}, nil
}
