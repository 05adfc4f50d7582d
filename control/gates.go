package control

import (
	"context"
	"errors"
	"slices"

	"holdfast"
	"holdfast/store"
)

// facts are what the gates of a VPS's backups look at, read in one go.
type facts struct {
	caller    Caller
	account   holdfast.Account
	vps       holdfast.VPS
	hostUp    bool
	quota     holdfast.Quota
	busy      *holdfast.Operation // what holds the data lock
	power     *holdfast.Operation // what holds the power lock
	roomBytes int64               // free on the host; 0: not known
	elsewhere int                 // completed backups of the account's other VPSs
	completed []holdfast.Backup   // the newest point in time first
	used      holdfast.CloudResources
}

func readFacts(ctx context.Context, q *store.Queries, caller Caller, id string) (facts, error) {
	f := facts{caller: caller}
	var err error
	if f.vps, err = ownVPS(ctx, q, caller, id); err != nil {
		return f, err
	}
	if f.account, err = q.Account(ctx, caller.Account); err != nil {
		return f, err
	}
	if f.hostUp, f.roomBytes, err = hostFacts(ctx, q, f.vps.HostID); err != nil {
		return f, err
	}
	if f.quota.Used, err = q.UsedSlots(ctx, f.vps.ID); err != nil {
		return f, err
	}
	f.quota.Limit = f.account.BackupSlots
	if f.busy, err = holder(ctx, q, f.vps.ID, holdfast.LockData); err != nil {
		return f, err
	}
	if f.completed, err = q.CompletedBackups(ctx, f.vps.ID); err != nil {
		return f, err
	}
	if f.power, err = holder(ctx, q, f.vps.ID, holdfast.LockPower); err != nil {
		return f, err
	}
	if f.elsewhere, err = q.CountBackupsElsewhere(ctx, caller.Account, f.vps.ID); err != nil {
		return f, err
	}
	f.used, err = q.UsedCloud(ctx, caller.Account)
	return f, err
}

// hostFacts says whether a host answers, and how many bytes are free there.
func hostFacts(ctx context.Context, q *store.Queries, id holdfast.HostID) (up bool, room int64, err error) {
	h, err := q.Host(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	now, err := q.Now(ctx)
	return h.Available(now), h.Room, err
}

func accountGate(a holdfast.Account) holdfast.Gate {
	if a.Active || !a.ShreddedAt.IsZero() {
		return holdfast.ShreddedGate(a)
	}
	return holdfast.Shut(holdfast.CodeAccountInactive, "The account is not active. What it has stays readable; ask support to activate it.")
}

// create is the gate of CreateBackup.
func (f *facts) create() holdfast.Gate {
	return holdfast.First(
		holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM), accountGate(f.account),
		holdfast.ServiceGate(f.vps), holdfast.BusyGate(f.busy), holdfast.QuotaGate(f.quota), holdfast.HostGate(f.hostUp))
}

// restore is shut for the reasons that every kind of restore has in common.
func (f *facts) restore() holdfast.Gate {
	return holdfast.First(holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM), accountGate(f.account),
		holdfast.RestorableGate(len(f.completed)))
}

// toPayg is the gate of RestoreToPayg, for the smallest Cloud VM that any
// backup of this VPS fits in: what is shut for that is shut for all.
func (f *facts) toPayg(r holdfast.PaygRange) holdfast.Gate {
	return holdfast.First(
		holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM, holdfast.ScopeWriteBilling), f.restore(),
		holdfast.BlockerGate(f.blockers(r, f.smallest(r))))
}

// delete is the gate of DeleteBackup, as far as it is the same for all backups.
func (f *facts) delete(backups int) holdfast.Gate {
	g := holdfast.ScopeGate(f.caller.Scopes, holdfast.ScopeBackupVM)
	if g.Allowed && backups == 0 {
		return holdfast.Shut(holdfast.CodeNoBackups, "This VPS has no backup to delete.")
	}
	return g
}

// smallest is the least that a restore of this VPS takes.
func (f *facts) smallest(r holdfast.PaygRange) holdfast.CloudResources {
	out := holdfast.CloudResources{CPUCores: r.MinCPUCores, MemoryGb: r.MinMemoryGb, StorageGb: r.MinStorageGb, Instances: 1}
	least := int64(-1)
	for _, b := range f.completed {
		if n := f.needed(b); least < 0 || n < least {
			least = n
		}
	}
	out.StorageGb = max(out.StorageGb, holdfast.CeilGb(max(least, 0)))
	return out
}

// needed is the storage in bytes that a restore of b takes at least.
func (f *facts) needed(b holdfast.Backup) int64 {
	return max(f.vps.StorageBytes(), sum(b.Disks))
}

// blockers are the reasons against a Cloud VM of the wanted size. Those that
// hold for the smallest one come first, so that the gate in the list, which
// knows only those, and the call name the same reason.
func (f *facts) blockers(r holdfast.PaygRange, want holdfast.CloudResources) []holdfast.Code {
	out := f.account.Cloud.AccessBlockers()
	for _, size := range []holdfast.CloudResources{f.smallest(r), want} {
		more := f.account.Cloud.LimitBlockers(f.used, size)
		if size.StorageGb > r.MaxStorageGb {
			more = append(more, holdfast.CodeStorageLimitExceeded)
		}
		for _, code := range more {
			if !slices.Contains(out, code) {
				out = append(out, code)
			}
		}
	}
	return out
}

func sum(disks []holdfast.VPSDisk) int64 { return holdfast.VPS{Disks: disks}.StorageBytes() }
