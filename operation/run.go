package operation

import (
	"context"
	"encoding/json"
	"fmt"

	"holdfast"
)

// Handler does the work of one kind of operation. It returns the kind's report.
// Its context ends when the lease is lost, when a cancel was asked for (cause
// ErrCancelled) or when the runner shuts down (cause ErrShutdown): the handler
// then returns soon, having released what must not outlive it. On ErrCancelled
// it cleans up with a context of its own; on the others it leaves everything to
// its successor.
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
}

// Epoch of the claim: 1 for the first, more for a successor.
func (r *Run) Epoch() int64 { return r.lease.Epoch }

// Input decodes the operation's input.
func (r *Run) Input(v any) error {
	if err := json.Unmarshal(r.Operation.Input, v); err != nil {
		return fmt.Errorf("operation: input of %s: %w", r.Operation.ID, err)
	}
	return nil
}

// Save journals v under key, durably, before it returns.
func (r *Run) Save(ctx context.Context, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("operation: journal %s: %w", key, err)
	}
	if err := r.queue.Journal(ctx, r.lease, key, b); err != nil {
		return fmt.Errorf("operation: journal %s: %w", key, err)
	}
	r.entries.put(key, b)
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
