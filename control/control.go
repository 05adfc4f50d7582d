// Package control holds the commands and queries of the control plane. A
// command authorises, checks the gate of the action, and writes rows and the
// operation that will do the work in one transaction; it never waits for that
// work and never touches data.
//
// Customers' commands take the Caller as a required argument: what is not the
// caller's own does not exist for it. The operator's commands take none; their
// doors are the command line on the data directory and a route of its own.
package control

import (
	"context"
	"errors"
	"slices"

	"holdfast"
	"holdfast/store"
)

// Options of the control plane. The zero value of a field means its default.
type Options struct {
	// PaygRange is what sizes of Cloud VMs are sold; default
	// holdfast.DefaultPaygRange.
	PaygRange holdfast.PaygRange
	// BackupNoteMax is how many characters a backup's note may have; default 500.
	BackupNoteMax int
	// DefaultForward are the guest ports that are forwarded when nothing else
	// says which; default 22 and 80.
	DefaultForward []int
	// Network is the kind of network that machines are defined with; default
	// "user".
	Network string
	// Site names the place of backups; default "local".
	Site string
	// Restore says how restores in place go.
	Restore RestorePolicy
	// Snapshots say how many there may be and for how long.
	Snapshots SnapshotPolicy
	// Currency of new VPSs, ISO 4217; default "EUR".
	Currency string
	// WrapKey draws a new key for an account and returns it wrapped by the
	// master key. Without it no account can be made.
	WrapKey func(ctx context.Context, account holdfast.AccountID) ([]byte, error)
	// KeyCheck names the master key that WrapKey uses. An account is not made with
	// one that is being replaced. Empty: not checked.
	KeyCheck string
}

func (o Options) withDefaults() Options {
	if o.PaygRange == (holdfast.PaygRange{}) {
		o.PaygRange = holdfast.DefaultPaygRange
	}
	if o.BackupNoteMax == 0 {
		o.BackupNoteMax = 500
	}
	if o.DefaultForward == nil {
		o.DefaultForward = []int{22, 80}
	}
	if o.Network == "" {
		o.Network = "user"
	}
	if o.Site == "" {
		o.Site = "local"
	}
	o.Restore = o.Restore.withDefaults()
	o.Snapshots = o.Snapshots.withDefaults()
	if o.Currency == "" {
		o.Currency = "EUR"
	}
	return o
}

// Control is the control plane over a store. It is safe for concurrent use;
// several may share a database.
type Control struct {
	store   *store.Store
	options Options
}

// New makes a control plane; the store stays the caller's to close.
func New(s *store.Store, o Options) *Control {
	return &Control{store: s, options: o.withDefaults()}
}

// Options are the options in force.
func (c *Control) Options() Options { return c.options }

// Ping says whether the database answers.
func (c *Control) Ping(ctx context.Context) error {
	return told("control.Ping", c.store.Ping(ctx))
}

// write runs a command's transaction.
func (c *Control) write(ctx context.Context, op string, fn func(tx *store.Tx) error) error {
	return told(op, c.store.Tx(ctx, fn))
}

// urgent runs the transaction of a command that must work on a full disk too.
func (c *Control) urgent(ctx context.Context, op string, fn func(tx *store.Tx) error) error {
	return told(op, c.store.TxUrgent(ctx, fn))
}

// told makes of any failure one that a user may be told about: what says itself
// what it is stays, and the store's become what they mean for the user.
func told(op string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*holdfast.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, store.ErrFull):
		return holdfast.Wrap(holdfast.CodeDatabaseFull, op, "The service's database is full, so nothing new can be started. Deleting backups still works.", err)
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrUnreachable), errors.Is(err, store.ErrConflict), errors.Is(err, context.DeadlineExceeded):
		return holdfast.Wrap(holdfast.CodeUpstreamUnavailable, op, "The service is too busy at the moment. Try again later.", err)
	}
	return holdfast.Wrap(holdfast.CodeInternal, op, "Something went wrong on our side.", err)
}

// missing turns "no such row" into the 404 of a noun.
func missing(err error, code holdfast.Code, msg string) error {
	if errors.Is(err, store.ErrNotFound) {
		return holdfast.E(code, msg)
	}
	return err
}

// Invalid is the refusal of a request for the faults of its fields: nil if
// there are none. A code that names the fault better than "invalid_request" is
// the refusal's own when all faults share it.
func Invalid(faults []holdfast.Field) error {
	if len(faults) == 0 {
		return nil
	}
	code := holdfast.CodeInvalidRequest
	special := []holdfast.Code{holdfast.CodeRegionUnknown, holdfast.CodeStorageTooSmall, holdfast.CodeSameVPS}
	if first := faults[0]; slices.Contains(special, first.Code) &&
		!slices.ContainsFunc(faults, func(f holdfast.Field) bool { return f.Code != first.Code }) {
		return &holdfast.Error{Code: first.Code, Msg: first.Detail, Fields: faults}
	}
	return &holdfast.Error{Code: code, Msg: "The request body failed validation.", Fields: faults}
}

// faultsOf are the fields that a refusal names.
func faultsOf(err error) []holdfast.Field {
	if e, ok := errors.AsType[*holdfast.Error](err); ok {
		return e.Fields
	}
	return nil
}
