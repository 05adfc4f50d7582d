//go:build !faults

package fault

// At is a place. It does nothing.
func At(string) {}
