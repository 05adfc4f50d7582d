//go:build !faults

// Package fault names the places of the program at which tests kill it, or what
// it works with. Without the build tag faults there are none.
package fault

// At is a place. It does nothing.
func At(string) {}
