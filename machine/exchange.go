package machine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/operation"
)

// exchange stops a machine, puts another generation of its disks in force, and
// starts it if it ran.
type exchange struct {
	*Host

	run        *operation.Run
	id         string // of the machine
	generation string
	grace      time.Duration
	say        func(message string)
}

// Exchange puts a generation of disks that is ready in force, and says what the
// machine does afterwards. Until then it can be cancelled, or fail, and the
// machine runs on with the disks that it had; from then on it does not fail: a
// machine that does not start is reported as stopped. say is told what is done.
func (h *Host) Exchange(ctx context.Context, run *operation.Run, generation string, grace time.Duration, say func(message string)) (holdfast.PowerState, error) {
	x := &exchange{Host: h, run: run, id: string(run.Operation.VPSID), generation: generation, grace: grace, say: say}
	ran, err := operation.Do(ctx, run, "power", func(ctx context.Context) (bool, error) {
		st, err := h.Driver.Inspect(ctx, x.id)
		return st.Power != compute.Stopped, err
	})
	if err != nil {
		return "", Explain("machine.Exchange", err)
	}
	if err := x.change(ctx, ran); err != nil {
		return "", err
	}
	if !ran {
		return holdfast.PowerStopped, nil
	}
	return x.start(ctx)
}

// change stops the machine and switches, once.
func (x *exchange) change(ctx context.Context, ran bool) error {
	_, done, begun, err := operation.Begun(x.run, holdfast.StepSwitch)
	if err != nil || done {
		return err
	}
	if begun { // and so it may have been switched, and a cancel comes too late
		switched, err := x.switched(ctx)
		if err != nil || switched {
			return err
		}
	}
	x.say("Stopping the VPS")
	// A successor stops it too: the service may have started what ran, as after a
	// reboot of the host.
	err = x.Provisioner.Stop(ctx, x.id, x.grace)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return x.runOn(ctx, ran, err)
	}
	ctx, end := committed(ctx, x.run)
	defer end()
	x.say("Replacing the disks")
	_, err = operation.Do(ctx, x.run, holdfast.StepSwitch, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, x.Regenerator.Switch(ctx, x.id, x.generation)
	})
	if err != nil {
		return x.runOn(ctx, ran, err)
	}
	return nil
}

// switched says whether the generation is in force.
func (x *exchange) switched(ctx context.Context) (bool, error) {
	all, err := x.Regenerator.Generations(ctx, x.id)
	for _, g := range all {
		if g.Name == x.generation && g.Current {
			return true, err
		}
	}
	return false, Explain("machine.Exchange", err)
}

// start starts the machine with its new disks. They may hold a system that the
// host cannot start; the exchange is done all the same.
func (x *exchange) start(ctx context.Context) (holdfast.PowerState, error) {
	ctx, end := committed(ctx, x.run)
	defer end()
	x.say("Starting the VPS")
	err := x.Provisioner.Start(ctx, x.id)
	switch {
	case err == nil:
		return holdfast.PowerRunning, nil
	case ctx.Err() != nil, x.run.Retried(Explain("machine.Exchange", err)):
		return "", Explain("machine.Exchange", fmt.Errorf("machine: start with other disks: %w", err))
	}
	return holdfast.PowerStopped, nil
}

// runOn has a machine that ran run again with the disks that it had, before the
// operation ends, or is tried once more, because of err.
func (x *exchange) runOn(ctx context.Context, ran bool, err error) error {
	const op = "machine.Exchange"
	held, cause := x.run.Held(), context.Cause(ctx)
	if !ran || held.Err() != nil || errors.Is(cause, operation.ErrShutdown) || errors.Is(err, operation.ErrLeaseLost) {
		return Explain(op, err)
	}
	if errors.Is(cause, operation.ErrCancelled) { // a guest that was asked to power off may do so at any time
		if err := x.Provisioner.Stop(held, x.id, x.grace); err != nil {
			return Explain(op, fmt.Errorf("machine: stop after a cancel: %w", err))
		}
	}
	if started := x.Provisioner.Start(held, x.id); started != nil {
		return Explain(op, fmt.Errorf("machine: start again after %v: %w", err, started)) //nolint:errorlint // the failure may not be tried again, the start must be
	}
	return Explain(op, err)
}
