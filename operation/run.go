package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/internal/fault"
)

var (
	// ErrCancelled is the cause of a handler's context when a user asked for
	// the end of the operation.
	ErrCancelled = errors.New("operation: cancelled")
	// ErrShutdown is the cause of a handler's context when its runner ends: the
	// operation goes on elsewhere, or later.
	ErrShutdown = errors.New("operation: the runner is shutting down")
)

// Handler does the work of one kind of operation. It returns the kind's report.
// Its context ends when the lease is lost (cause ErrLeaseLost), when a cancel
// was asked for (cause ErrCancelled) or when the runner shuts down (cause
// ErrShutdown): the handler then returns soon, having released what must not
// outlive it. On ErrCancelled it cleans up under Run.Held and returns an error
// that wraps ErrCancelled or context.Canceled; any other error means that it
// could not clean up, and it is called again. On the other causes it leaves
// everything to its successor. A handler whose work is past its commit
// point returns its report whatever its context says.
type Handler func(ctx context.Context, run *Run) (report any, err error)

// Run is one claim of an operation, as its handler sees it. It is safe for
// concurrent use.
type Run struct {
	// Operation as it was claimed.
	Operation holdfast.Operation

	lease    Lease
	queue    Queue
	entries  *entries
	progress *progress
	held     context.Context         //nolint:containedctx // it is the lease, not a call
	lost     context.CancelCauseFunc // ends held
	tries    int                     // how many may fail
}

// Detached is a run without a queue, journalling in memory: for handlers that
// are run by hand, as in tests.
func Detached(op holdfast.Operation) *Run {
	held, lost := context.WithCancelCause(context.Background())
	return &Run{
		Operation: op, lease: Lease{Job: op.ID, Epoch: max(op.Epoch, 1)}, queue: nowhere{},
		entries: newEntries(nil), progress: &progress{}, held: held, lost: lost,
	}
}

// Epoch of the claim: 1 for the first, more for a successor.
func (r *Run) Epoch() int64 { return r.lease.Epoch }

// Retried says whether the operation is tried again, by this runner's rules, if
// its handler returns err now. A handler that is not may clear away what was
// kept for its successor.
func (r *Run) Retried(err error) bool {
	again, _ := retryClass(err)
	return again && r.Operation.Attempts+1 < r.tries
}

// Held is a context that ends only when the lease is lost: for what must be
// finished or cleaned up after the handler's context has ended.
func (r *Run) Held() context.Context { return r.held }

// Input decodes the operation's input.
func (r *Run) Input(v any) error {
	if err := json.Unmarshal(r.Operation.Input, v); err != nil {
		return fmt.Errorf("operation: input of %s: %w", r.Operation.ID, err)
	}
	return nil
}

// Save journals v under key, durably, before it returns. When the lease turns
// out to be lost, the handler's context ends too.
func (r *Run) Save(ctx context.Context, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("operation: journal %s: %w", key, err)
	}
	if err := context.Cause(r.held); err != nil {
		return fmt.Errorf("operation: journal %s: %w", key, err)
	}
	if err := r.queue.Journal(ctx, r.lease, key, b); err != nil {
		if errors.Is(err, ErrLeaseLost) {
			r.lost(err)
		}
		return fmt.Errorf("operation: journal %s: %w", key, err)
	}
	r.entries.put(key, b)
	fault.At(string(r.Operation.Kind) + "." + key)
	return nil
}

// Load reads the journal entry of key, of this claim or of an earlier one.
func (r *Run) Load(key string, v any) (found bool, err error) {
	b, ok := r.entries.get(key)
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("operation: journal %s: %w", key, err)
	}
	return true, nil
}

// Progress publishes how far the work has come, in bytes, with the next
// renewal. It is cheap.
func (r *Run) Progress(current, total int64, message string) {
	r.progress.set(holdfast.Progress{Current: current, Total: total, Message: message})
}
