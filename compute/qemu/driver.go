// Package qemu keeps machines as QEMU processes of this host and takes points
// in time of them: copy-before-write filters and persistent dirty bitmaps over
// QMP, read through NBD; stopped machines by the same rounds through
// qemu-storage-daemon. Snapshots of a machine are layers of its disks.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"holdfast/internal/fault"
)

// driverName is what Handles and Capabilities call this driver.
const driverName = "qemu"

// User is the unprivileged account that hypervisor processes run as.
type User struct {
	UID, GID uint32
}

// Config of a Driver. Directories are created as needed.
type Config struct {
	// Root holds the machines: definition, disks, console.
	Root string
	// Run holds sockets; its path has to be short, for the path of a unix
	// socket is less than 108 bytes long.
	Run string
	// Scratch holds what guests overwrite during a point in time.
	Scratch string
	// ScratchLimit is how many bytes of Scratch one machine may take before its
	// point in time is given up; 0 is no limit but the file system's.
	ScratchLimit int64
	// HostScratchLimit is the same for all machines together; 0 is none.
	HostScratchLimit int64
	// ScratchReserve is how many bytes of the file system of Scratch stay free.
	ScratchReserve int64
	// Accelerator is "tcg" or "kvm"; it is never guessed, for a /dev/kvm that
	// opens is no proof that guests run on it.
	Accelerator string
	// QEMU, Img and StorageDaemon are the programs, by default
	// qemu-system-x86_64, qemu-img and qemu-storage-daemon.
	QEMU, Img, StorageDaemon string
	// User runs the hypervisor processes; nil for our own.
	User *User
	// Watchdog is how to call a program that runs RunWatchdog with the
	// arguments appended, as a rule this program and a hidden subcommand.
	Watchdog []string
	// NoFreeze keeps file systems from being frozen in guests that have an agent.
	NoFreeze bool
	// ConsoleBytes of serial output are kept for each machine; 256 KiB when 0.
	ConsoleBytes int64
	// Connections for reading one disk; 2 when 0.
	Connections int
	// LockWait is how long to wait for another conversation with the same
	// machine before ErrBusy; 30 s when 0.
	LockWait time.Duration
	// Logger for what no caller can be told; slog.Default when nil.
	Logger *slog.Logger
}

// granule is the granularity in bytes of bitmaps and of copy-before-write.
const granule = 64 << 10

func (c *Config) setDefaults() {
	or := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	or(&c.QEMU, "qemu-system-x86_64")
	or(&c.Img, "qemu-img")
	or(&c.StorageDaemon, "qemu-storage-daemon")
	if c.ConsoleBytes == 0 {
		c.ConsoleBytes = 256 << 10
	}
	if c.Connections == 0 {
		c.Connections = 2
	}
	if c.LockWait == 0 {
		c.LockWait = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

func (c *Config) validate() error {
	var errs []error
	for name, dir := range map[string]string{"root": c.Root, "run": c.Run, "scratch": c.Scratch} {
		if !filepath.IsAbs(dir) {
			errs = append(errs, fmt.Errorf("qemu: %s directory %q is not absolute", name, dir))
		}
	}
	if n := longestSocket(c.Run); n > maxSocketPath {
		errs = append(errs, fmt.Errorf("qemu: run directory %q is too long: sockets in it need %d bytes of path and the kernel allows %d; choose one shorter by %d",
			c.Run, n, maxSocketPath, n-maxSocketPath))
	}
	if !slices.Contains([]string{"tcg", "kvm"}, c.Accelerator) {
		errs = append(errs, fmt.Errorf("qemu: accelerator %q: it has to be tcg or kvm", c.Accelerator))
	}
	if c.ConsoleBytes < 4096 || c.ScratchLimit < 0 || c.HostScratchLimit < 0 || c.ScratchReserve < 0 || c.Connections < 1 || c.Connections > 16 {
		errs = append(errs, errors.New("qemu: console, scratch limit or connections out of range"))
	}
	if len(c.Watchdog) == 0 {
		errs = append(errs, errors.New("qemu: no watchdog command"))
	}
	for _, prog := range []string{c.QEMU, c.Img, c.StorageDaemon} {
		if _, err := exec.LookPath(prog); err != nil {
			errs = append(errs, fmt.Errorf("qemu: %w (Debian: apt-get install qemu-system-x86 qemu-utils)", err))
		}
	}
	return errors.Join(errs...)
}

// Driver is a compute.Driver and compute.Provisioner. It is safe for concurrent
// use, also by several processes of one host.
type Driver struct {
	cfg   Config
	log   *slog.Logger
	fault func(at string) // nil in tests that are not killed
	queue queue
	// resumeAfter is when the watchdog acts; less in a test.
	resumeAfter time.Duration
	// foldSpeed bounds in bytes per second how fast a layer is written into the one
	// below, so that guests have their disks too; less in a test.
	foldSpeed int64

	guardsMu sync.Mutex
	guards   map[string]*guard // of throttled machines, by id

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// New checks the configuration, makes the directories and begins to keep
// consoles within their bound. Machines that already run are found by their
// sockets.
func New(cfg Config) (*Driver, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.Root, cfg.Run, cfg.Scratch} {
		// The hypervisor's user passes through, and lists nothing.
		if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // see above
			return nil, fmt.Errorf("qemu: %w", err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &Driver{cfg: cfg, log: cfg.Logger, fault: fault.At, resumeAfter: watchdogAfter, foldSpeed: 128 << 20, stop: stop}
	d.stopped.Go(func() { d.trimConsoles(ctx) })
	return d, nil
}

// Close stops the driver's own work in the background. Machines and points in
// time go on.
func (d *Driver) Close() error {
	d.stop()
	d.stopped.Wait()
	return nil
}

// at is a place at which tests kill this process, or the hypervisor.
//
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
func (d *Driver) at(place string) {
	if d.fault != nil {
		d.fault(place)
	}
}
