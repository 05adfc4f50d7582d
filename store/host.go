package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"holdfast"
)

type hostRow struct {
	bun.BaseModel `bun:"table:hosts,alias:hosts"`

	ID                holdfast.HostID `bun:",pk"`
	Region            string
	Name              string
	Driver            string
	CreatedAt         micros
	Enabled           bool
	SeenAt            micros
	CapacityCPUCores  int `bun:"capacity_cpu_cores"`
	CapacityMemoryGb  int `bun:"capacity_memory_gb"`
	CapacityStorageGb int `bun:"capacity_storage_gb"`
	CapacityInstances int `bun:"capacity_instances"`
	Snapshots         bool
	RoomBytes         int64
}

func newHostRow(h holdfast.Host) *hostRow {
	return &hostRow{
		ID: h.ID, Region: h.Region, Name: h.Name, Driver: h.Driver, CreatedAt: toMicros(h.CreatedAt),
		Enabled: h.Enabled, SeenAt: toMicros(h.SeenAt),
		CapacityCPUCores: h.Capacity.CPUCores, CapacityMemoryGb: h.Capacity.MemoryGb,
		CapacityStorageGb: h.Capacity.StorageGb, CapacityInstances: h.Capacity.Instances,
		Snapshots: h.Snapshots, RoomBytes: h.Room,
	}
}

func (r hostRow) domain() holdfast.Host {
	return holdfast.Host{
		ID: r.ID, Region: r.Region, Name: r.Name, Driver: r.Driver, CreatedAt: r.CreatedAt.time(),
		Enabled: r.Enabled, SeenAt: r.SeenAt.time(), Snapshots: r.Snapshots, Room: r.RoomBytes,
		Capacity: holdfast.CloudResources{
			CPUCores: r.CapacityCPUCores, MemoryGb: r.CapacityMemoryGb,
			StorageGb: r.CapacityStorageGb, Instances: r.CapacityInstances,
		},
	}
}

// Host reads a host, or ErrNotFound.
func (q *queries) Host(ctx context.Context, id holdfast.HostID) (holdfast.Host, error) {
	return one[hostRow](ctx, q, "host", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("id = ?", id) })
}

// HostByName reads the host of a name, or ErrNotFound.
func (q *queries) HostByName(ctx context.Context, name string) (holdfast.Host, error) {
	return one[hostRow](ctx, q, "host by name", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Where("name = ?", name) })
}

// Hosts lists all hosts by name.
func (q *queries) Hosts(ctx context.Context) ([]holdfast.Host, error) {
	return all[hostRow](ctx, q, "hosts", func(s *bun.SelectQuery) *bun.SelectQuery { return s.Order("name") })
}

// HostsOfRegion lists a region's hosts by name.
func (q *queries) HostsOfRegion(ctx context.Context, region string) ([]holdfast.Host, error) {
	return all[hostRow](ctx, q, "hosts of region", func(s *bun.SelectQuery) *bun.SelectQuery {
		return s.Where("region = ?", region).Order("name")
	})
}

// PutHost writes a host, new or known. Of a known one the sign of life, the room
// and the creation stay as they are.
func (t *Tx) PutHost(ctx context.Context, h holdfast.Host) error {
	q := t.db.NewInsert().Model(newHostRow(h)).On("CONFLICT (id) DO UPDATE")
	for _, c := range []string{
		"region", "name", "driver", "enabled",
		"capacity_cpu_cores", "capacity_memory_gb", "capacity_storage_gb", "capacity_instances", "snapshots",
	} {
		q = q.Set("? = EXCLUDED.?", bun.Ident(c), bun.Ident(c))
	}
	_, err := q.Exec(ctx)
	return failed("put host", err)
}

// TouchHost notes a sign of life of a host now, unless the last one is younger
// than least. It does not mind a host that is not known.
func (t *Tx) TouchHost(ctx context.Context, id holdfast.HostID, least time.Duration) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	// A sign of life from the future, written before the clock was set back,
	// does not count.
	_, err = t.db.NewUpdate().Model((*hostRow)(nil)).Set("seen_at = ?", toMicros(now)).
		Where("id = ? AND (seen_at <= ? OR seen_at > ?)", id, toMicros(now.Add(-least)), toMicros(now)).Exec(ctx)
	return failed("touch host", err)
}

// SetRoom notes how many bytes are free on a host. It does not mind a host that is
// not known.
func (t *Tx) SetRoom(ctx context.Context, id holdfast.HostID, bytes int64) error {
	_, err := t.db.NewUpdate().Model((*hostRow)(nil)).Set("room_bytes = ?", bytes).Where("id = ?", id).Exec(ctx)
	return failed("set room", err)
}
