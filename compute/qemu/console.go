package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The console is a plain file that QEMU appends to, so that the last words of a
// guest that died, also while no service ran, are there. A ring in QEMU would
// die with it, and a pipe would stop when we do. We keep the file within its
// bound by punching out all but its end: offsets stay, so nothing is lost in a
// race with the writer.
const consoleFile = "console.log"

// trimEvery bounds what a guest can write between two looks at its console.
const trimEvery = 15 * time.Second

// restartAt is the apparent size at which the file begins anew, long before
// file systems run out of offsets. A variable for the test.
var restartAt int64 = 1 << 30

// Console is the end of the machine's serial output, at most limit bytes.
func (d *Driver) Console(ctx context.Context, id string, limit int) ([]byte, error) {
	if _, err := d.load(id); err != nil {
		return nil, err
	}
	if limit <= 0 || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	path := d.file(id, consoleFile)
	if err := d.trim(path); err != nil {
		return nil, err
	}
	b, err := readTail(path, min(int64(limit), d.cfg.ConsoleBytes))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("qemu: console: %w", err)
	}
	return b, nil
}

// trim frees all of an append-only file but its end.
func (d *Driver) trim(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0) //nolint:gosec // paths of checked ids
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing is written
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	if fi.Size() > restartAt {
		err = f.Truncate(0)
	} else if excess := fi.Size() - d.cfg.ConsoleBytes; excess > 0 {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, excess) //nolint:gosec // a descriptor
	}
	if err != nil {
		return fmt.Errorf("qemu: console: %w", err)
	}
	return nil
}

func (d *Driver) trimConsoles(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ids, err := d.Machines(ctx)
		for _, id := range ids {
			err = errors.Join(err, d.trim(d.file(id, consoleFile)), d.trim(d.file(id, logQEMU)))
		}
		if err != nil && ctx.Err() == nil {
			d.log.Warn("consoles were not trimmed", "error", err)
		}
	}
}
