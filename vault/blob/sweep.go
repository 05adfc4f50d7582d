package blob

import "context"

// Sweeper is a Storage where dead writers leave what is no blob, but takes space.
type Sweeper interface {
	Storage
	// Sweep removes what no living writer can still be at, and returns how many
	// pieces that were. A writer that was at one after all writes it anew.
	Sweep(ctx context.Context) (int, error)
}

// Sweep sweeps a storage, through its wrappers; one that needs no sweeping is
// clean.
func Sweep(ctx context.Context, st Storage) (int, error) {
	for {
		if s, ok := st.(Sweeper); ok {
			return s.Sweep(ctx)
		}
		w, ok := st.(Wrapper)
		if !ok {
			return 0, nil
		}
		st = w.Unwrap()
	}
}
