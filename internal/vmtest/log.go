package vmtest

import (
	"io"

	"holdfast/test/guest/guestlog"
)

// Result is what a verified log of the guest says.
type Result = guestlog.Result

// VerifyLog proves that the disks, in the order in which the guest was told to
// write them, hold an exact prefix of its log at one instant.
func VerifyLog(disks ...io.ReaderAt) (Result, error) { return guestlog.Verify(disks...) }
