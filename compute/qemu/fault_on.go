//go:build faults

package qemu

import (
	"os"
	"syscall"
)

// Places are qemu.begin.throttled, .prepared, .freezing (asked for), .frozen, .stopped (guest paused, nothing changed yet),
// .slid (paused, point taken), .access, .offline; qemu.end.detached, .settled,
// .removed; qemu.generation.made (under another name), .prepared, .tracked (its
// bitmaps are begun), .ready, .linked (the new pointer is there), .switched (not
// yet durable), .dropped (out of sight); qemu.reshape.listed (not yet so large),
// .grown, .made (not yet listed), .unlisted (not yet removed); qemu.layer.made (not
// yet listed), .listed, .open (not yet written to), .freezing (asked for), .frozen,
// .piled (written to, not yet known to be); qemu.rollback.piled, .made (durable),
// .switched; qemu.fold.disowned (the snapshot is not listed any more), .begun,
// .carried (its bitmaps are below), .concluded, .forgotten (not listed any more).
//
// builtinFault ends this process as SIGKILL does, at the place that the
// environment names.
var builtinFault = func(place string) {
	if os.Getenv("HOLDFAST_FAULT") == place {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing after the place is done
	}
}
