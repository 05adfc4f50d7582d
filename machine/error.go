package machine

import (
	"errors"

	"holdfast"
	"holdfast/compute"
)

// Explain turns what a driver says into what a user may be told; an error that
// needs no words of its own is returned as it is.
func Explain(op string, err error) error {
	for _, e := range []struct {
		sentinel error
		code     holdfast.Code
		msg      string
	}{
		{compute.ErrNoSpace, holdfast.CodeHostDiskFull, "The host's disk is full. Ask the operator to free space, then try again."},
		{compute.ErrScratchExhausted, holdfast.CodeScratchExhausted, "The guest wrote more during the backup than the host keeps aside, so the backup was given up; the VPS ran on. Try again at a quieter time."},
		{compute.ErrNoSnapshot, holdfast.CodeSnapshotNotFound, "The host does not have this snapshot any more. Choose another one."},
		{compute.ErrNotFound, holdfast.CodeVPSNotReady, "The host does not know this VPS. Ask the operator."},
		{compute.ErrState, holdfast.CodeVPSStateChanged, "The VPS is in another power state than this needs. Look at its state, then try again."},
	} {
		if errors.Is(err, e.sentinel) {
			return holdfast.Wrap(e.code, op, e.msg, err)
		}
	}
	return err
}
