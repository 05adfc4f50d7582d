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
	// Retain keeps a blob until a time at least; a later date that is in force
	// already stays. ErrNotFound when there is no such blob.
	Retain(ctx context.Context, name string, until time.Time) error
	// RetainedUntil returns the date in force, zero when there is none.
	RetainedUntil(ctx context.Context, name string) (time.Time, error)
}

// Wrapper is a Storage around another one.
type Wrapper interface{ Unwrap() Storage }

// AsRetainer finds the Retainer in a storage, through its wrappers; nil if there
// is none.
func AsRetainer(st Storage) Retainer {
	for {
		if r, ok := st.(Retainer); ok {
			return r
		}
		w, ok := st.(Wrapper)
		if !ok {
			return nil
		}
		st = w.Unwrap()
	}
}
