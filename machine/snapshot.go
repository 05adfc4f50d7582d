package machine

import (
	"context"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/compute"
	"holdfast/operation"
)

// snapshotting is one claim of an operation on a snapshot.
type snapshotting struct {
	*Host

	run *operation.Run
	in  holdfast.SnapshotInput
	vps string
	id  string // of the snapshot, for the driver
}

func (h *Host) snapshotting(run *operation.Run) (*snapshotting, error) {
	s := &snapshotting{Host: h, run: run, vps: string(run.Operation.VPSID)}
	if err := run.Input(&s.in); err != nil {
		return nil, err
	}
	s.id = s.in.Snapshot.ULID()
	if h.Snapshotter == nil {
		return nil, holdfast.E(holdfast.CodeSnapshotsUnavailable, "The host of this VPS keeps no snapshots.")
	}
	return s, nil
}

// CreateSnapshot is the handler of holdfast.KindSnapshotCreate. What it has begun
// when it is cancelled or fails is not cleared up here: whoever ends the operation
// sees by its step that there may be something, and has it deleted.
func (h *Host) CreateSnapshot(ctx context.Context, run *operation.Run) (any, error) {
	s, err := h.snapshotting(run)
	if err != nil {
		return nil, err
	}
	_, done, _, err := operation.Begun(run, holdfast.StepSnapshotTake)
	if err != nil {
		return nil, err
	}
	if cause := context.Cause(ctx); cause != nil && !done {
		return nil, fmt.Errorf("machine: not taken: %w", cause)
	}
	report, err := operation.Do(ctx, run, holdfast.StepSnapshotTake, func(ctx context.Context) (holdfast.SnapshotReport, error) {
		run.Progress(0, 0, "Taking the snapshot")
		taken, err := h.Snapshotter.Snapshot(ctx, s.vps, s.id)
		return holdfast.SnapshotReport{TakenAt: taken.At, Frozen: taken.Frozen}, err
	})
	if err != nil {
		return nil, Explain("machine.CreateSnapshot", err)
	}
	return report, nil
}

// DeleteSnapshot is the handler of holdfast.KindSnapshotDelete. Once it is begun a
// cancel is too late: the snapshot's own layers take what was written since.
func (h *Host) DeleteSnapshot(ctx context.Context, run *operation.Run) (any, error) {
	s, err := h.snapshotting(run)
	if err != nil {
		return nil, err
	}
	_, _, begun, err := operation.Begun(run, holdfast.StepSnapshotRemove)
	if err != nil {
		return nil, err
	}
	if cause := context.Cause(ctx); cause != nil && !begun {
		return nil, fmt.Errorf("machine: not begun: %w", cause)
	}
	ctx, end := committed(ctx, run)
	defer end()
	_, err = operation.Do(ctx, run, holdfast.StepSnapshotRemove, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.Snapshotter.RemoveSnapshot(ctx, s.vps, s.id, func(done, total int64) {
			run.Progress(done, total, "Writing what came after the snapshot into what it was made of")
		})
	})
	if err != nil {
		return nil, Explain("machine.DeleteSnapshot", err)
	}
	return holdfast.SnapshotReport{}, nil
}

// committed is ctx for what a cancel must not end any more; the end of the lease
// and of the runner still do.
func committed(ctx context.Context, run *operation.Run) (context.Context, context.CancelFunc) {
	out, end := context.WithCancelCause(run.Held())
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, operation.ErrCancelled) {
			end(cause)
		}
	})
	return out, func() {
		stop()
		end(nil)
	}
}

// RollBack is the handler of holdfast.KindSnapshotRestore: the machine is stopped,
// its disks are put back, and it is started if it ran. Until its disks are put back
// it can be cancelled, or fail, and then runs on with those that it had.
func (h *Host) RollBack(ctx context.Context, run *operation.Run) (any, error) {
	s, err := h.snapshotting(run)
	if err != nil {
		return nil, err
	}
	ran, err := operation.Do(ctx, run, "power", func(ctx context.Context) (bool, error) {
		st, err := h.Driver.Inspect(ctx, s.vps)
		return st.Power != compute.Stopped || s.in.Runs && !st.PoweredOff, err
	})
	if err != nil {
		return nil, Explain("machine.RollBack", err)
	}
	if err := s.rollBack(ctx, ran); err != nil {
		return nil, err
	}
	report := holdfast.SnapshotReport{Power: holdfast.PowerStopped}
	if ran {
		ctx, end := committed(ctx, run)
		defer end()
		run.Progress(0, 0, "Starting the VPS")
		if err := h.Provisioner.Start(ctx, s.vps); err != nil {
			return nil, holdfast.Wrap(holdfast.CodeInternal, "machine.RollBack",
				"The VPS was rolled back to the snapshot, but does not start. Start it again, or ask support.", err)
		}
		report.Power = holdfast.PowerRunning
	}
	return report, nil
}

// rollBack stops the machine and puts its disks back, once.
func (s *snapshotting) rollBack(ctx context.Context, ran bool) error {
	_, done, begun, err := operation.Begun(s.run, holdfast.StepSnapshotSwitch)
	if err != nil || done {
		return err
	}
	if begun { // and so it may have been switched
		var end context.CancelFunc
		ctx, end = committed(ctx, s.run)
		defer end()
	}
	s.run.Progress(0, 0, "Stopping the VPS")
	// A successor stops it too: it may have been started meanwhile.
	err = s.Provisioner.Stop(ctx, s.vps, s.in.Grace)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return s.giveUp(ctx, ran, err)
	}
	ctx, end := committed(ctx, s.run)
	defer end()
	s.run.Progress(0, 0, "Rolling the disks back")
	_, err = operation.Do(ctx, s.run, holdfast.StepSnapshotSwitch, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Snapshotter.Rollback(ctx, s.vps, s.id)
	})
	if err != nil {
		return s.giveUp(ctx, ran, err)
	}
	return nil
}

// giveUp has the machine run again, if it ran and nobody tries once more, before
// the operation ends with err.
func (s *snapshotting) giveUp(ctx context.Context, ran bool, err error) error {
	const op = "machine.RollBack"
	held, cause := s.run.Held(), context.Cause(ctx)
	cancelled := errors.Is(cause, operation.ErrCancelled)
	if !ran || held.Err() != nil || errors.Is(cause, operation.ErrShutdown) || !cancelled && s.run.Retried(Explain(op, err)) {
		return Explain(op, err)
	}
	if cancelled { // a guest that was asked to power off may do so at any time
		if err := s.Provisioner.Stop(held, s.vps, s.in.Grace); err != nil {
			return Explain(op, fmt.Errorf("machine: stop after a cancel: %w", err))
		}
	}
	if started := s.Provisioner.Start(held, s.vps); started != nil {
		return Explain(op, fmt.Errorf("machine: start again after %v: %w", err, started)) //nolint:errorlint // the failure may not be tried again, the start must be
	}
	return Explain(op, err)
}
