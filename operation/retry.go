package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"holdfast"
)

// Retryable is implemented by errors that know whether trying again may help,
// and how long to wait before; 0: as the runner sees fit.
type Retryable interface {
	Retryable() (bool, time.Duration)
}

// passing are the codes of failures that may pass by themselves. All others are
// an answer: trying again would only get it again.
var passing = map[holdfast.Code]bool{
	holdfast.CodeInternal:            true,
	holdfast.CodeHostUnavailable:     true,
	holdfast.CodeUpstreamUnavailable: true,
	holdfast.CodeRateLimited:         true,
	holdfast.CodeOperationInProgress: true,
}

// retryClass says whether trying again after err may help, and when.
func retryClass(err error) (again bool, after time.Duration) {
	var r Retryable
	if errors.As(err, &r) {
		return r.Retryable()
	}
	return passing[holdfast.CodeOf(err)], 0
}

// backoff is the delay before the next try, after the given number of tries:
// doubling from first up to most, and up to a quarter longer, so that
// operations that failed together do not come back together. It is never 0.
func backoff(first, most time.Duration, attempts int) time.Duration {
	d := first
	for range attempts {
		if d >= most/2 {
			d = most
			break
		}
		d *= 2
	}
	d = max(min(d, most), time.Millisecond)
	return d + rand.N(d/4) //nolint:gosec // spreads tries, guards nothing
}

// never is a cause that makes a failure final.
type never string

func (n never) Error() string                    { return string(n) }
func (n never) Retryable() (bool, time.Duration) { return false, 0 }

var errTooOften = holdfast.Wrap(holdfast.CodeInternal, "operation",
	"The operation was begun too often without coming to an end. Ask support.", never("claimed too often"))

// failure is what the user is told of err: never its cause.
func failure(err error) *holdfast.Failure {
	if e, ok := errors.AsType[*holdfast.Error](err); ok {
		return &holdfast.Failure{Code: e.Code, Message: e.Msg, Extensions: e.Extensions}
	}
	return &holdfast.Failure{
		Code:    holdfast.CodeInternal,
		Message: "The operation failed for a reason on our side. Try it again; if it fails again, ask support.",
	}
}

var cancelled = &holdfast.Failure{Code: holdfast.CodeCancelled, Message: "The operation was cancelled."}

// outcome decides what becomes of an operation whose handler returned under
// ctx. The lease is known to be held.
func (r *Runner) outcome(ctx context.Context, run *Run, report any, err error) Outcome {
	if err == nil {
		b, merr := json.Marshal(report)
		if merr == nil {
			return Outcome{Report: b}
		}
		err = fmt.Errorf("operation: report: %w", merr)
	}
	cause := context.Cause(ctx)
	stopped := errors.Is(err, context.Canceled) || errors.Is(err, ErrCancelled)
	switch {
	case errors.Is(cause, ErrShutdown):
		return Outcome{Retry: true}
	case errors.Is(cause, ErrCancelled) && stopped:
		return Outcome{Failure: cancelled}
	}
	if run.Retried(err) {
		_, after := retryClass(err)
		if after <= 0 {
			after = backoff(r.cfg.FirstDelay, r.cfg.MostDelay, run.Operation.Attempts)
		}
		return Outcome{Retry: true, RetryAfter: after}
	}
	if errors.Is(cause, ErrCancelled) {
		return Outcome{Failure: cancelled}
	}
	return Outcome{Failure: failure(err)}
}
