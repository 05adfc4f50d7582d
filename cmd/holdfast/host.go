package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast"
	"holdfast/backup"
	"holdfast/compute"
	"holdfast/compute/qemu"
	"holdfast/compute/sim"
	"holdfast/control"
	"holdfast/machine"
	"holdfast/operation"
)

// host is the in-process hypervisor host: its driver, and the runners of its
// operations.
type host struct {
	*installation
	id      holdfast.HostID
	machine *machine.Host
	queue   *control.Queue
	runners []*operation.Runner
	log     *slog.Logger
	close   func() error
	room    int64 // bytes, as it was last told
}

// Quick operations must not wait behind backups that take hours, and nobody's must
// wait behind copies and collections. Giving up a snapshot copies what came after it.
const (
	quickRunners  = 4
	mergeRunners  = 2
	upkeepRunners = 2
)

func newHost(ctx context.Context, in *installation, log *slog.Logger) (*host, error) {
	cfg := in.config.Host
	h := &host{installation: in, log: log, close: func() error { return nil }}
	h.machine = &machine.Host{Ports: machine.PortRange{First: cfg.FirstPort, Last: cfg.LastPort}}
	switch cfg.Driver {
	case "sim":
		d, err := sim.Open(cfg.Machines)
		if err != nil {
			return nil, fmt.Errorf("sim: %w", err)
		}
		h.machine.Driver, h.machine.Provisioner, h.machine.Regenerator = d, d, d
	default:
		d, err := newQEMU(in.config, log)
		if err != nil {
			return nil, err
		}
		h.machine.Driver, h.machine.Provisioner, h.machine.Regenerator, h.close = d, d, d, d.Close
	}
	h.machine.Snapshotter, _ = h.machine.Driver.(compute.Snapshotter)
	h.machine.Reshaper, _ = h.machine.Driver.(compute.Reshaper)
	var err error
	if h.id, err = register(ctx, in, h.machine.Snapshotter != nil && in.config.Snapshot.Limit > 0); err != nil {
		return nil, errors.Join(err, h.close())
	}
	all := &vaults{installation: in}
	h.queue = control.NewQueue(in.store, log).WithUpkeep(control.Upkeep{
		First: firstPlace, Copies: all.Places()[1:], CollectAfter: in.config.Vault.CollectAfter,
		Snapshots: in.config.Snapshot.policy(), Restore: in.config.restorePolicy(),
	})
	data := &backup.Service{Host: h.machine, Vaults: all, Log: log, Sample: in.config.Backup.Sample, Limits: backup.Limits{
		BytesPerSecond: in.config.Host.BackupBytes, WriteLatency: in.config.Host.WriteLatency,
		RetryWriteBytesPerSecond: in.config.Host.ScratchRetry.WriteBytes,
	}}
	keep := &backup.Keeper{Vaults: all, Sessions: in.sessionState, Log: log}
	for name, r := range map[string]struct {
		concurrency int
		handlers    map[holdfast.Kind]operation.Handler
	}{
		"data": {in.config.Operations.Concurrency, map[holdfast.Kind]operation.Handler{
			holdfast.KindBackup: data.Backup, holdfast.KindRestoreToPayg: data.Restore, holdfast.KindRestoreInPlace: data.RestoreInPlace,
		}},
		"quick": {quickRunners, map[holdfast.Kind]operation.Handler{
			holdfast.KindBackupDelete: data.Delete, holdfast.KindVPSCreate: h.machine.Create, holdfast.KindVPSStart: h.machine.Start,
			holdfast.KindVPSStop: h.machine.Stop, holdfast.KindVPSRestart: h.machine.Restart, holdfast.KindVPSReset: h.machine.Restart,
			holdfast.KindVPSDelete: h.machine.Delete, holdfast.KindVPSReshape: h.machine.Reshape, holdfast.KindRestoreUndo: h.machine.Undo,
			holdfast.KindSnapshotCreate: h.machine.CreateSnapshot, holdfast.KindSnapshotRestore: h.machine.RollBack,
		}},
		"merge": {mergeRunners, map[holdfast.Kind]operation.Handler{holdfast.KindSnapshotDelete: h.machine.DeleteSnapshot}},
		"upkeep": {upkeepRunners, map[holdfast.Kind]operation.Handler{
			holdfast.KindCopy: keep.Copy, holdfast.KindCopyDelete: keep.DeleteCopy, holdfast.KindVaultCollect: keep.Collect,
			holdfast.KindGenerationDrop: h.machine.DropGeneration,
		}},
	} {
		h.runners = append(h.runners, operation.NewRunner(h.queue, operation.Config{
			Name: fmt.Sprintf("%s.%s.%s", cfg.Name, name, holdfast.NewID[holdfast.RequestID]().ULID()), Host: h.id,
			Concurrency: r.concurrency, TTL: in.config.Operations.Lease, Log: log,
		}, r.handlers))
	}
	return h, nil
}

// register makes the embedded region and host known, and finds them again.
func register(ctx context.Context, in *installation, snapshots bool) (holdfast.HostID, error) {
	cfg := in.config.Host
	regions, err := in.control.ListRegions(ctx)
	if err != nil {
		return "", err
	}
	if len(regions) == 0 {
		if _, err := in.control.CreateRegion(ctx, control.RegionInfo{ID: cfg.Region, Default: true}); err != nil {
			return "", err
		}
	}
	info, err := in.control.RegisterHost(ctx, control.RegisterHostInput{Name: cfg.Name, Region: cfg.Region, Driver: cfg.Driver, Snapshots: &snapshots})
	if err != nil {
		return "", err
	}
	id := holdfast.HostID(info.ID)
	return id, in.control.TouchHost(ctx, id)
}

func newQEMU(cfg config, log *slog.Logger) (*qemu.Driver, error) {
	if cfg.Host.Accelerator == "" {
		return nil, holdfast.E(holdfast.CodeInvalidRequest, "Name QEMU's accelerator: --accelerator kvm on a machine with hardware virtualisation, --accelerator tcg elsewhere. It is never guessed.")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own program: %w", err)
	}
	u, err := qemuUser(cfg.Host.User)
	if err != nil {
		return nil, err
	}
	return qemu.New(qemu.Config{
		Root: cfg.Host.Machines, Run: cfg.Host.Run, Scratch: cfg.Host.Scratch, ScratchLimit: cfg.Host.ScratchLimit << 20,
		Accelerator: cfg.Host.Accelerator, User: u, Watchdog: []string{self, "watchdog"}, Logger: log,
		HostScratchLimit: cfg.Host.HostScratchLimit << 20, ScratchReserve: cfg.Host.ScratchReserve << 20, NoFreeze: !cfg.Host.Freeze,
	})
}

func qemuUser(name string) (*qemu.User, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no user of its own
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, holdfast.Wrap(holdfast.CodeInvalidRequest, "config", "host.user is not a user of this machine.", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("host.user: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("host.user: %w", err)
	}
	return &qemu.User{UID: uint32(uid), GID: uint32(gid)}, nil
}

// run works on the host's operations and watches its machines until ctx ends.
func (h *host) run(ctx context.Context) error {
	if err := h.wake(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range h.runners {
		g.Go(func() error { return r.Run(ctx) })
	}
	for _, loop := range []func(context.Context){h.watch, h.queue.Maintain, h.upkeep} {
		g.Go(func() error {
			loop(ctx)
			return nil
		})
	}
	return g.Wait()
}

func (h *host) upkeep(ctx context.Context) { h.queue.Upkeep(ctx, h.id) }

// look is how often the host tells that it lives and what its machines do.
const look = 5 * time.Second

func (h *host) watch(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if err := h.observe(ctx); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "the state of the host could not be recorded", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// observe records the power state of every machine: a guest may power itself
// off.
func (h *host) observe(ctx context.Context) error {
	if err := h.control.TouchHost(ctx, h.id); err != nil {
		return err
	}
	vpss, err := h.store.VPSOfHost(ctx, h.id)
	if err != nil {
		return err
	}
	roomKnown := false
	for _, v := range vpss {
		if v.Service != holdfast.ServiceActive || v.Power == holdfast.PowerProvisioning || v.Power == holdfast.PowerError {
			continue
		}
		if !roomKnown {
			roomKnown = true
			if err := h.tellRoom(ctx, v.ID); err != nil {
				return err
			}
		}
		st, err := h.inspect(ctx, v.ID)
		if err != nil {
			continue // an operation is under way, or the machine is gone: its own report tells
		}
		if p := holdfast.PowerState(st.Power); p != v.Power {
			if err := h.control.ObservePower(ctx, v.ID, v.Power, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// roomStep is by how many bytes the room on the host has to differ to be told.
const roomStep = 16 << 20

// tellRoom tells how much room is left where the machines' disks lie.
func (h *host) tellRoom(ctx context.Context, of holdfast.VPSID) error {
	room, err := h.machine.Regenerator.Room(ctx, string(of))
	if err != nil || max(room, h.room)-min(room, h.room) < roomStep {
		return nil //nolint:nilerr // the machine is gone: the next one tells
	}
	h.room = room
	return h.control.ReportRoom(ctx, h.id, room)
}

// inspect does not wait for a conversation that an operation has with the
// machine.
func (h *host) inspect(ctx context.Context, id holdfast.VPSID) (compute.State, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return h.machine.Driver.Inspect(ctx, string(id))
}
