package store

import (
	"context"
	"strings"

	"github.com/uptrace/bun"

	"holdfast"
)

type vpsRow struct {
	bun.BaseModel `bun:"table:vps,alias:vps"`

	ID           holdfast.VPSID `bun:",pk"`
	AccountID    holdfast.AccountID
	Region       string
	HostID       holdfast.HostID
	Name         string
	NameFolded   string
	OS           *holdfast.OperatingSystem `bun:"os,type:text"`
	Service      holdfast.ServiceStatus
	Power        holdfast.PowerState
	Desired      holdfast.PowerState
	CPUCores     int `bun:"cpu_cores"`
	MemoryMiB    int `bun:"memory_mib"`
	StorageBytes int64
	Disks        []holdfast.VPSDisk       `bun:"disks,type:text"`
	Boot         holdfast.Boot            `bun:"boot,type:text"`
	MAC          string                   `bun:"mac"`
	PrimaryIP    string                   `bun:"primary_ip"`
	Ports        []holdfast.ForwardedPort `bun:"ports,type:text"`
	AmountMinor  int64
	Currency     string
	BillingCycle string
	IsPayg       bool
	Generation   int
	CreatedAt    micros
	RestoredFrom holdfast.BackupID

	LastGeneration int
	BaseBackup     holdfast.BackupID
}

func newVPSRow(v holdfast.VPS) *vpsRow {
	return &vpsRow{
		ID: v.ID, AccountID: v.AccountID, Region: v.Region, HostID: v.HostID,
		Name: v.Name, NameFolded: strings.ToLower(v.Name), OS: v.OS,
		Service: v.Service, Power: v.Power, Desired: v.Desired,
		CPUCores: v.CPUCores, MemoryMiB: v.MemoryMiB, StorageBytes: v.StorageBytes(),
		Disks: notNil(v.Disks), Boot: v.Boot, MAC: v.MAC, PrimaryIP: v.PrimaryIP, Ports: notNil(v.Ports),
		AmountMinor: v.Billing.AmountMinor, Currency: v.Billing.Currency,
		BillingCycle: v.Billing.Cycle, IsPayg: v.Billing.IsPayg,
		Generation: v.Generation, CreatedAt: toMicros(v.CreatedAt), RestoredFrom: v.RestoredFrom,
		LastGeneration: v.LastGeneration, BaseBackup: v.Base,
	}
}

func (r vpsRow) domain() holdfast.VPS {
	return holdfast.VPS{
		ID: r.ID, AccountID: r.AccountID, Region: r.Region, HostID: r.HostID,
		Name: r.Name, OS: r.OS, Service: r.Service, Power: r.Power, Desired: r.Desired,
		CPUCores: r.CPUCores, MemoryMiB: r.MemoryMiB, Disks: r.Disks, Boot: r.Boot,
		MAC: r.MAC, PrimaryIP: r.PrimaryIP, Ports: r.Ports,
		Billing: holdfast.Billing{
			AmountMinor: r.AmountMinor, Currency: r.Currency, Cycle: r.BillingCycle, IsPayg: r.IsPayg,
		},
		Generation: r.Generation, CreatedAt: r.CreatedAt.time(), RestoredFrom: r.RestoredFrom,
		LastGeneration: r.LastGeneration, Base: r.BaseBackup,
	}
}

// notNil keeps an absent list from being stored as NULL.
func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// VPS reads a VPS of any account, or ErrNotFound. For what a customer asks, use
// VPSOf.
func (q *queries) VPS(ctx context.Context, id holdfast.VPSID) (holdfast.VPS, error) {
	return one[vpsRow](ctx, q, "vps", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("id = ?", id) })
}

// VPSOf reads a VPS of an account; ErrNotFound too when it is another's.
func (q *queries) VPSOf(ctx context.Context, account holdfast.AccountID, id holdfast.VPSID) (holdfast.VPS, error) {
	return one[vpsRow](ctx, q, "vps of account", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("id = ? AND account_id = ?", id, account)
	})
}

// VPSFilter narrows a list of VPSs; empty fields do not.
type VPSFilter struct {
	PrimaryIP string
	Name      string // the whole name, in any case
}

// ListShownVPS is a page of an account's VPSs, and whether there is more: all
// but the terminated ones without a completed backup.
func (q *queries) ListShownVPS(ctx context.Context, account holdfast.AccountID, f VPSFilter, p Page) ([]holdfast.VPS, bool, error) {
	return page[vpsRow](ctx, q, "list shown vps", p, func(s *bun.SelectQuery) *bun.SelectQuery {
		s = s.Where("account_id = ?", account).
			Where("(service <> ? OR EXISTS (SELECT 1 FROM backups AS b WHERE b.vps_id = vps.id AND b.status = ?))",
				holdfast.ServiceTerminated, holdfast.BackupCompleted)
		if f.PrimaryIP != "" {
			s = s.Where("primary_ip = ?", f.PrimaryIP)
		}
		if f.Name != "" {
			s = s.Where("name_folded = ?", strings.ToLower(f.Name))
		}
		return s
	})
}

// AllVPS lists every VPS of every account that is not terminated, the oldest
// first.
func (q *queries) AllVPS(ctx context.Context) ([]holdfast.VPS, error) {
	return all[vpsRow](ctx, q, "all vps", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("service <> ?", holdfast.ServiceTerminated).Order("created_at", "id")
	})
}

// VPSOfAccount lists all VPSs of an account, terminated ones too, the newest first.
func (q *queries) VPSOfAccount(ctx context.Context, account holdfast.AccountID) ([]holdfast.VPS, error) {
	return all[vpsRow](ctx, q, "vps of account", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("account_id = ?", account).Order("created_at DESC", "id DESC")
	})
}

// VPSOfHost lists the VPSs on a host that are not terminated, the oldest first.
func (q *queries) VPSOfHost(ctx context.Context, host holdfast.HostID) ([]holdfast.VPS, error) {
	return all[vpsRow](ctx, q, "vps of host", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("host_id = ? AND service <> ?", host, holdfast.ServiceTerminated).Order("created_at", "id")
	})
}

// UsedCloud sums the resources of an account's Cloud VMs, those being
// provisioned included. Memory and storage are rounded up a VM, as on the wire.
func (q *queries) UsedCloud(ctx context.Context, account holdfast.AccountID) (holdfast.CloudResources, error) {
	return q.sumVPS(ctx, "used cloud", "account_id = ? AND is_payg AND service <> ?", account, holdfast.ServiceTerminated)
}

// UsedHost sums the resources of all VPSs placed on a host.
func (q *queries) UsedHost(ctx context.Context, host holdfast.HostID) (holdfast.CloudResources, error) {
	return q.sumVPS(ctx, "used host", "host_id = ? AND service <> ?", host, holdfast.ServiceTerminated)
}

func (q *queries) sumVPS(ctx context.Context, op, where string, args ...any) (holdfast.CloudResources, error) {
	var r holdfast.CloudResources
	err := q.db.NewSelect().Model((*vpsRow)(nil)).
		ColumnExpr("CAST(COALESCE(SUM(cpu_cores), 0) AS BIGINT)").
		ColumnExpr("CAST(COALESCE(SUM((memory_mib + 1023) / 1024), 0) AS BIGINT)").
		ColumnExpr("CAST(COALESCE(SUM((storage_bytes + ?) / ?), 0) AS BIGINT)", holdfast.GiB-1, holdfast.GiB).
		ColumnExpr("COUNT(*)").
		Where(where, args...).Scan(ctx, &r.CPUCores, &r.MemoryGb, &r.StorageGb, &r.Instances)
	return r, failed(op, err)
}

// InsertVPS writes a new VPS.
func (t *Tx) InsertVPS(ctx context.Context, v holdfast.VPS) error {
	return t.insert(ctx, "insert vps", newVPSRow(v))
}

// SetPower writes what a VPS is doing.
func (t *Tx) SetPower(ctx context.Context, id holdfast.VPSID, p holdfast.PowerState) error {
	return t.setVPS(ctx, "set power", id, "power = ?", p)
}

// SetDesired writes what the customer wants a VPS to be doing.
func (t *Tx) SetDesired(ctx context.Context, id holdfast.VPSID, p holdfast.PowerState) error {
	return t.setVPS(ctx, "set desired", id, "desired = ?", p)
}

// SetService writes the commercial state of a VPS.
func (t *Tx) SetService(ctx context.Context, id holdfast.VPSID, s holdfast.ServiceStatus) error {
	return t.setVPS(ctx, "set service", id, "service = ?", s)
}

// SetDisks writes which disks a VPS has, in the order the guest sees them.
func (t *Tx) SetDisks(ctx context.Context, id holdfast.VPSID, disks []holdfast.VPSDisk) error {
	row := &vpsRow{ID: id, Disks: notNil(disks), StorageBytes: holdfast.VPS{Disks: disks}.StorageBytes()}
	res, err := t.db.NewUpdate().Model(row).Column("disks", "storage_bytes").WherePK().Exec(ctx)
	return touched("set disks", res, err)
}

// SetPorts writes which ports of a VPS its host forwards.
func (t *Tx) SetPorts(ctx context.Context, id holdfast.VPSID, ports []holdfast.ForwardedPort) error {
	res, err := t.db.NewUpdate().Model(&vpsRow{ID: id, Ports: notNil(ports)}).Column("ports").WherePK().Exec(ctx)
	return touched("set ports", res, err)
}

// SetVPSGeneration writes which disks of a VPS are in force, and what goes with
// them: their number, sizes, operating system and base.
func (t *Tx) SetVPSGeneration(ctx context.Context, v holdfast.VPS) error {
	res, err := t.db.NewUpdate().Model(newVPSRow(v)).
		Column("generation", "last_generation", "base_backup", "disks", "storage_bytes", "os").WherePK().Exec(ctx)
	return touched("set generation of vps", res, err)
}

func (t *Tx) setVPS(ctx context.Context, op string, id holdfast.VPSID, set string, arg any) error {
	res, err := t.db.NewUpdate().Model((*vpsRow)(nil)).Set(set, arg).Where("id = ?", id).Exec(ctx)
	return touched(op, res, err)
}

// DeleteVPS removes a VPS without a trace; only for one that never came to be.
func (t *Tx) DeleteVPS(ctx context.Context, id holdfast.VPSID) error {
	res, err := t.db.NewDelete().Model((*vpsRow)(nil)).Where("id = ?", id).Exec(ctx)
	return touched("delete vps", res, err)
}
