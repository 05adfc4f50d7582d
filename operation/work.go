package operation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"holdfast"
	"holdfast/internal/fault"
)

// work handles one claim from its begin to its end. begun is when the claim was
// asked for: the lease is at least as old as that.
func (r *Runner) work(ctx context.Context, op holdfast.Operation, begun time.Time) {
	log := r.cfg.Log.With("job", op.ID, "kind", op.Kind, "epoch", op.Epoch, "runner", r.cfg.Name)
	held, lose := context.WithCancelCause(context.WithoutCancel(ctx))
	defer lose(nil)
	r.enter(op.ID, lose)
	defer r.leave(op.ID)
	// The handler's context ends with the lease, and for reasons of its own.
	hctx, stop := context.WithCancelCause(held)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() { stop(ErrShutdown) })()

	run := &Run{
		Operation: op, lease: Lease{Job: op.ID, Epoch: op.Epoch, Runner: r.cfg.Name}, queue: r.queue,
		entries: newEntries(nil), progress: &progress{p: op.Progress}, held: held, lost: lose, tries: r.cfg.MaxAttempts,
	}
	if op.Cancel {
		stop(ErrCancelled)
	}
	k := &keeper{run: run, ttl: r.cfg.TTL, publish: r.cfg.Publish, log: log, cancel: func() { stop(ErrCancelled) }}
	release := k.keep(held, begun)
	defer release()

	log.InfoContext(ctx, "operation begins", "attempts", op.Attempts)
	report, err := r.handle(hctx, run)
	if cause := context.Cause(held); cause != nil || errors.Is(err, ErrLeaseLost) {
		log.WarnContext(ctx, "the lease is lost; the operation is left to its successor", "cause", cause, "error", err)
		return
	}
	o := r.outcome(hctx, run, report, err)
	k.last(held)
	fault.At(string(op.Kind) + ".worked")
	if err := r.finish(ctx, held, run.lease, o); err != nil {
		log.ErrorContext(ctx, "cannot end the operation; it is left to a successor", "error", err)
		return
	}
	fault.At(string(op.Kind) + ".finished")
	switch {
	case o.Failure != nil:
		log.ErrorContext(ctx, "operation failed", "code", o.Failure.Code, "error", err)
	case o.Retry:
		log.WarnContext(ctx, "operation given back", "after", o.RetryAfter, "cause", context.Cause(hctx), "error", err)
	default:
		log.InfoContext(ctx, "operation completed", "took", time.Since(begun))
	}
}

func (r *Runner) enter(id holdfast.JobID, lose context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.working[id] = lose
}

func (r *Runner) leave(id holdfast.JobID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.working, id)
}

// handle reads the journal and calls the handler. A panic is a failure like
// another one; its stack is in the error, which is logged and never sent.
func (r *Runner) handle(ctx context.Context, run *Run) (report any, err error) {
	defer func() {
		if p := recover(); p != nil {
			report, err = nil, fmt.Errorf("operation: the handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	op := run.Operation
	if op.Epoch-int64(op.Attempts) > maxClaims {
		return nil, errTooOften
	}
	if op.Epoch > 1 {
		m, err := r.queue.Entries(run.held, run.lease)
		if err != nil {
			return nil, fmt.Errorf("operation: journal: %w", err)
		}
		run.entries = newEntries(m)
	}
	fault.At(string(op.Kind) + ".claimed")
	return r.handlers[op.Kind](ctx, run)
}

// finish tries until the outcome is written or the lease is lost; at shutdown
// only a few times more.
func (r *Runner) finish(ctx, held context.Context, l Lease, o Outcome) error {
	const triesAtShutdown = 3
	for try := 0; ; try++ {
		tctx, cancel := context.WithTimeout(held, max(r.cfg.TTL/2, time.Second))
		err := r.queue.Finish(tctx, l, o)
		cancel()
		if err == nil || errors.Is(err, ErrLeaseLost) {
			return err
		}
		if ctx.Err() != nil && try >= triesAtShutdown {
			return err
		}
		wait := time.NewTimer(backoff(r.cfg.TTL/100, r.cfg.TTL/3, try))
		select {
		case <-held.Done():
			wait.Stop()
			return errors.Join(context.Cause(held), err)
		case <-wait.C:
		}
	}
}
