package blob

import "context"

// Purger is a Storage that may keep what was deleted from it, as a bucket keeps
// versions and a file system the blocks of a file.
type Purger interface {
	Storage
	// Purge removes every blob whose name begins with prefix, and every earlier
	// version and deleted one that the place lets be listed; it proves by another
	// list that none is left. It returns how many objects were removed, also with an
	// error. What the place is bound to keep is ErrRetained.
	Purge(ctx context.Context, prefix string) (removed int, err error)
}

// AsPurger finds the Purger in a storage, through its wrappers; nil if there is
// none.
func AsPurger(st Storage) Purger {
	for {
		if p, ok := st.(Purger); ok {
			return p
		}
		w, ok := st.(Wrapper)
		if !ok {
			return nil
		}
		st = w.Unwrap()
	}
}
