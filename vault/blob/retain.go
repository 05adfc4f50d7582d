package blob

import (
	"context"
	"errors"
	"time"
)

// ErrRetained says that a blob cannot be deleted before a date, by anyone.
var ErrRetained = errors.New("blob is retained")

// Retainer is a Storage that can keep blobs from being deleted, by its own
// users, its operator and whoever stole their keys. Deleting a retained blob is
// ErrRetained and changes nothing. Not every name can be retained: what must be
// deletable at any time, as a vault's keys, never is.
type Retainer interface {
	Storage
	// Retention is for how long a backup is kept at least, by the configuration of
	// the place; what PutNew stores is retained for no less. Zero: nothing is.
	Retention() time.Duration
	// PutRetained is PutNew for a blob that is retained until a time, to the second,
	// from the moment it is there.
	PutRetained(ctx context.Context, name string, data []byte, until time.Time) error
	// Retain keeps a blob until a time at least, and perhaps for somewhat longer, so
	// that not every backup has to extend it again; a later date that is in force
	// already stays. ErrNotFound when there is no such blob.
	Retain(ctx context.Context, name string, until time.Time) error
	// RetainedUntil returns the date in force, zero when there is none.
	RetainedUntil(ctx context.Context, name string) (time.Time, error)
}

// Wrapper is a Storage around another one.
type Wrapper interface{ Unwrap() Storage }

// RetainWrapper is a Wrapper that has something to do with retaining, too.
type RetainWrapper interface {
	Wrapper
	// Retaining returns what stands before the Retainer that was found within.
	Retaining(inner Retainer) Retainer
}

// AsRetainer finds the Retainer in a storage, through its wrappers; nil if there
// is none.
func AsRetainer(st Storage) Retainer {
	if r, ok := st.(Retainer); ok {
		return r
	}
	w, ok := st.(Wrapper)
	if !ok {
		return nil
	}
	inner := AsRetainer(w.Unwrap())
	if rw, ok := st.(RetainWrapper); ok && inner != nil {
		return rw.Retaining(inner)
	}
	return inner
}
