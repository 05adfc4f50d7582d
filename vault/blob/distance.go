package blob

// Distant is a Storage whose every call takes its time, however little it asks
// for.
type Distant interface {
	Storage
	// InFlight is how many reads at once pay off; each may hold a buffer of 1 MiB.
	InFlight() int
}

// InFlight is how many reads at once pay off at a storage, seen through its
// wrappers: 1 for one that is near.
func InFlight(st Storage) int {
	for {
		if d, ok := st.(Distant); ok {
			return max(1, d.InFlight())
		}
		w, ok := st.(Wrapper)
		if !ok {
			return 1
		}
		st = w.Unwrap()
	}
}
