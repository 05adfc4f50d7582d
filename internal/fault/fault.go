// Package fault names the places of the program at which tests kill it, or what
// it works with. Without the build tag faults, nothing happens there.
package fault

// The files in the directory that HOLDFAST_FAULTS names: what was passed, a line
// each; the place to wait at and the number of the pass, as "backup.point 2";
// that it was reached; and what ends the waiting.
const (
	Trace = "trace"
	Halt  = "halt"
	Hit   = "hit"
	Go    = "go"
)
