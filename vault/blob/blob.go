// Package blob is the seam between the vault and the places where its bytes lie.
package blob

import (
	"context"
	"errors"
	"iter"
)

var (
	// ErrNotFound says that no blob of that name exists.
	ErrNotFound = errors.New("blob not found")
	// ErrExists says that a blob of that name exists already; nothing was changed.
	ErrExists = errors.New("blob exists already")
	// ErrNoSpace says that the place is full (disk or quota). Retrying is of no
	// use before space was made; deleting still works.
	ErrNoSpace = errors.New("no space left for blobs")
	// ErrTooLarge says that a blob is larger than its reader was ready to hold.
	ErrTooLarge = errors.New("blob larger than allowed")
	// ErrName says that a name breaks the rules of CheckName.
	ErrName = errors.New("blob name not allowed")
)

// Info describes one stored blob.
type Info struct {
	Name string
	Size int64 // bytes
}

// Storage keeps immutable blobs, each written once. Every method may be called
// concurrently, and from several processes on the same place. A method that
// returns an error other than a sentinel of this package may have taken effect.
type Storage interface {
	// PutNew stores data under a name that must not exist. When it returns nil
	// the blob is durable and visible whole; a name that exists is ErrExists,
	// a full place ErrNoSpace. A reader never sees a part of a blob. The data is
	// not kept after the call.
	PutNew(ctx context.Context, name string, data []byte) error
	// Get returns a whole blob, or ErrNotFound, or ErrTooLarge when it holds more
	// than limit bytes; no more than that is ever allocated.
	Get(ctx context.Context, name string, limit int64) ([]byte, error)
	// ReadAt fills p from the byte offset off. A blob that ends before p is full
	// is io.ErrUnexpectedEOF.
	ReadAt(ctx context.Context, name string, p []byte, off int64) error
	// Stat returns a blob's size, or ErrNotFound.
	Stat(ctx context.Context, name string) (Info, error)
	// List yields every blob whose name begins with prefix, in no given order. An
	// error ends the sequence. Blobs put or deleted meanwhile may or may not appear.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes a blob; one that does not exist is no error. It works on a
	// full place.
	Delete(ctx context.Context, name string) error
}
