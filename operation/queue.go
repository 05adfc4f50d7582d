// Package operation runs durable operations: a Runner claims them from a Queue
// under a lease with an epoch, renews the lease with its progress, journals
// each step, and stops by itself when it has lost the lease.
//
// The rules are those of a fenced lease: every claim raises the epoch, every
// write carries it, and a write under an older epoch is refused (ErrLeaseLost).
// Lease decisions use the queue's clock; a runner gives up by its own monotonic
// clock after half a TTL without a renewal.
package operation

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"holdfast"
)

var (
	// ErrNone: there is nothing to claim now.
	ErrNone = errors.New("operation: nothing to claim")
	// ErrLeaseLost: another runner holds the operation, or it has ended. The
	// runner must stop at once and touch nothing more.
	ErrLeaseLost = errors.New("operation: the lease is lost")
)

// Lease is the right to work on one operation, until it is lost.
type Lease struct {
	Job    holdfast.JobID
	Epoch  int64
	Runner string
}

// ClaimRequest says which operations a runner takes.
type ClaimRequest struct {
	Runner string // names the runner, for the log
	Host   holdfast.HostID
	Kinds  []holdfast.Kind
	TTL    time.Duration
}

// Outcome ends an operation, or gives it back.
type Outcome struct {
	// Report is the kind's report (holdfast.BackupReport, …) when it succeeded.
	Report json.RawMessage
	// Failure ends the operation as failed; it may leave nothing behind.
	Failure *holdfast.Failure
	// Retry gives the operation back: it is claimed again after the delay. With
	// a delay it counts as an attempt; without, its runner just goes.
	Retry      bool
	RetryAfter time.Duration
}

// Queue is the door to the operations: directly to the database, or over HTTP
// from a host. All methods but Claim return ErrLeaseLost when the lease's epoch
// is not the operation's any more.
type Queue interface {
	// Claim takes the oldest operation that is due, queued or with an expired
	// lease, raising its epoch; or ErrNone. It does not wait.
	Claim(ctx context.Context, req ClaimRequest) (holdfast.Operation, error)
	// Renew extends the lease by ttl and publishes the progress. It says
	// whether a cancel was asked for.
	Renew(ctx context.Context, l Lease, ttl time.Duration, p holdfast.Progress) (cancel bool, err error)
	// Journal stores an entry under its key, replacing an older one. Entries
	// outlive the lease: a successor reads them.
	Journal(ctx context.Context, l Lease, key string, value json.RawMessage) error
	// Entries are all journal entries of the operation.
	Entries(ctx context.Context, l Lease) (map[string]json.RawMessage, error)
	// Finish ends the lease with an outcome, in one transaction with all that
	// follows from it.
	Finish(ctx context.Context, l Lease, o Outcome) error
}

// Wake is implemented by queues that can tell when there may be work, so that
// a runner need not poll often.
type Wake interface {
	// Woken is closed, or sent to, after an operation was queued by this
	// process. A runner asks for the channel before each claim.
	Woken() <-chan struct{}
}
