package control

import (
	"context"
	"errors"
	"slices"
	"strings"

	"holdfast"
	"holdfast/store"
)

// restorePlan is what a restore to a new Cloud VM would do.
type restorePlan struct {
	facts  facts
	backup holdfast.Backup
	region holdfast.Region
	size   holdfast.CloudResources
	faults []holdfast.Field // of the request
}

// CheckRestore says what is wrong with the fields of a request, without doing
// anything; vps_not_found or backup_not_found when there is nothing to restore.
func (c *Control) CheckRestore(ctx context.Context, caller Caller, vps, backup string, req holdfast.PaygRequest) ([]holdfast.Field, error) {
	p, err := c.planRestore(ctx, c.store.Queries(), caller, vps, backup, req)
	return p.faults, told("control.CheckRestore", err)
}

// RestoreToPayg makes a new Cloud VM and queues the restore of a backup to it.
// The source VPS only proves ownership and locates the backup: its state, its
// host and its jobs do not matter.
func (c *Control) RestoreToPayg(ctx context.Context, caller Caller, vps, backup string, req holdfast.PaygRequest, o *Once) (Accepted, error) {
	return c.once(ctx, "control.RestoreToPayg", caller, o, func(tx *store.Tx) (holdfast.Operation, error) {
		q := tx.Queries()
		p, err := c.planRestore(ctx, q, caller, vps, backup, req)
		if err != nil {
			return holdfast.Operation{}, err
		}
		if err := Invalid(p.faults); err != nil {
			return holdfast.Operation{}, err
		}
		if err := p.gate(c.options.PaygRange).Err(); err != nil {
			return holdfast.Operation{}, err
		}
		host, err := chooseHost(ctx, q, p.region.ID, p.size)
		if err != nil {
			return holdfast.Operation{}, err
		}
		return c.queueRestore(ctx, tx, &p, host, req)
	})
}

func (c *Control) planRestore(ctx context.Context, q *store.Queries, caller Caller, vps, backup string, req holdfast.PaygRequest) (restorePlan, error) {
	var p restorePlan
	var err error
	if p.facts, err = readFacts(ctx, q, caller, vps); err != nil {
		return p, err
	}
	if p.backup, err = ownBackup(ctx, q, caller, p.facts.vps.ID, backup); err != nil {
		return p, err
	}
	if req.Name != nil {
		p.faults = append(p.faults, faultsOf(holdfast.CheckName(*req.Name))...)
	}
	if p.region, err = chooseRegion(ctx, q, req.Region, p.facts.vps.Region); err != nil {
		more := faultsOf(err)
		if more == nil {
			return p, err
		}
		p.faults = append(p.faults, more...)
	}
	var more []holdfast.Field
	p.size, more = c.chooseSize(&p, req)
	p.faults = append(p.faults, more...)
	return p, nil
}

// chooseSize sizes the Cloud VM.
func (c *Control) chooseSize(p *restorePlan, req holdfast.PaygRequest) (holdfast.CloudResources, []holdfast.Field) {
	r, needed := c.options.PaygRange, p.facts.needed(p.backup)
	size, err := r.Size(req, p.facts.vps.CPUCores, p.facts.vps.MemoryMiB, needed)
	faults := faultsOf(err)
	if err == nil {
		return size, nil
	}
	if len(faults) == 0 { // more storage than is sold: a blocker, not a fault
		req.StorageGb = nil
		size, err = r.Size(req, p.facts.vps.CPUCores, p.facts.vps.MemoryMiB, 0)
		size.StorageGb = holdfast.CeilGb(needed)
		return size, faultsOf(err)
	}
	return size, faults
}

// gate is what stands between this plan and its operation.
func (p *restorePlan) gate(r holdfast.PaygRange) holdfast.Gate {
	f := &p.facts
	restorable := holdfast.Open
	if p.backup.Status != holdfast.BackupCompleted {
		restorable = holdfast.Shut(holdfast.CodeBackupNotRestorable, "This backup is not completed, so it cannot be restored. Choose a completed one.")
	}
	return holdfast.First(
		holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM, holdfast.ScopeWriteBilling), accountGate(f.account),
		restorable, holdfast.BlockerGate(f.blockers(r, p.size)))
}

func (c *Control) queueRestore(ctx context.Context, tx *store.Tx, p *restorePlan, host holdfast.Host, req holdfast.PaygRequest) (holdfast.Operation, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return holdfast.Operation{}, err
	}
	source, b := p.facts.vps, p.backup
	v := holdfast.VPS{
		ID: holdfast.NewID[holdfast.VPSID](), AccountID: source.AccountID, Region: p.region.ID, HostID: host.ID,
		OS: b.OS, Service: holdfast.ServiceActive, Power: holdfast.PowerProvisioning, Desired: holdfast.PowerRunning,
		CPUCores: p.size.CPUCores, MemoryMiB: p.size.MemoryGb * 1024, Disks: grown(b.Disks, p.size.StorageGb), Boot: b.Boot,
		MAC: newMAC(), Generation: 1, CreatedAt: now, RestoredFrom: b.ID,
		Billing: holdfast.Billing{Currency: c.options.Currency, Cycle: "monthly", IsPayg: true},
	}
	v.Name = "restore-" + v.ID.ULID()[16:]
	if req.Name != nil {
		v.Name = *req.Name
	}
	if err := tx.InsertVPS(ctx, v); err != nil {
		return holdfast.Operation{}, err
	}
	return enqueue(ctx, tx, holdfast.Operation{
		Kind: holdfast.KindRestoreToPayg, AccountID: v.AccountID, VPSID: v.ID, BackupID: b.ID, HostID: host.ID,
		KeyID: p.facts.caller.Key, Lock: holdfast.LockData, CreatedAt: now,
	}, holdfast.RestoreInput{
		Source: source.ID, Region: v.Region, Total: sum(b.Disks),
		Machine: c.machine(v, c.forwardOf(source), nil),
	})
}

// grown are the disks of a backup, the first one grown so that all together
// have storageGb GiB, which is not less than they have.
func grown(disks []holdfast.VPSDisk, storageGb int) []holdfast.VPSDisk {
	out := slices.Clone(disks)
	if len(out) > 0 {
		out[0].SizeBytes += int64(storageGb)*holdfast.GiB - sum(disks)
	}
	return out
}

// forwardOf are the guest ports that a copy of a VPS forwards.
func (c *Control) forwardOf(v holdfast.VPS) []int {
	if len(v.Ports) == 0 {
		return c.options.DefaultForward
	}
	out := make([]int, len(v.Ports))
	for i, p := range v.Ports {
		out[i] = p.GuestPort
	}
	return out
}

// machine is what a host needs to know to define a VPS that is to run.
func (c *Control) machine(v holdfast.VPS, forward []int, image *holdfast.DiskImage) holdfast.MachineInput {
	return holdfast.MachineInput{
		Hostname: strings.ToLower(v.Name), CPUCores: v.CPUCores, MemoryMiB: v.MemoryMiB, Disks: v.Disks, Boot: v.Boot,
		MAC: v.MAC, Network: c.options.Network, Forward: forward, Image: image, Start: v.Desired == holdfast.PowerRunning,
	}
}

// chooseRegion finds the region that was asked for, or the default one, or,
// where the operator has set none, that of the source.
func chooseRegion(ctx context.Context, q *store.Queries, asked *string, source string) (holdfast.Region, error) {
	if asked == nil {
		r, err := q.DefaultRegion(ctx)
		if errors.Is(err, store.ErrNotFound) {
			return q.Region(ctx, source)
		}
		return r, err
	}
	r, err := q.Region(ctx, *asked)
	if errors.Is(err, store.ErrNotFound) {
		return r, holdfast.InvalidField(holdfast.CodeRegionUnknown, "/region", "There is no such region. Leave it out for the default one.")
	}
	return r, err
}
