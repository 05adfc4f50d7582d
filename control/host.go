package control

import (
	"context"
	"errors"
	"time"

	"holdfast"
	"holdfast/store"
)

// HostInfo is a hypervisor machine as its operator sees it.
type HostInfo struct {
	ID        string     `json:"id"`
	Region    string     `json:"region"`
	Name      string     `json:"name"`
	Driver    string     `json:"driver"`
	Enabled   bool       `json:"enabled"`
	Snapshots bool       `json:"snapshots"` // its driver keeps them
	Available bool       `json:"available"`
	SeenAt    *time.Time `json:"seenAt"`
	Capacity  LimitsInfo `json:"capacity"`
}

func hostInfo(h holdfast.Host, now time.Time) HostInfo {
	return HostInfo{
		ID: h.ID.String(), Region: h.Region, Name: h.Name, Driver: h.Driver, Enabled: h.Enabled, Snapshots: h.Snapshots,
		Available: h.Available(now), SeenAt: timeOrNull(h.SeenAt), Capacity: LimitsInfo(h.Capacity),
	}
}

// RegisterHostInput describes a host. What is zero in the capacity is not
// bounded.
type RegisterHostInput struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	Driver string `json:"driver,omitzero"` // default "qemu"
	// Snapshots: the driver keeps them; left out: as it was, or not.
	Snapshots *bool      `json:"snapshots"`
	Capacity  LimitsInfo `json:"capacity,omitzero"`
}

// RegisterHost makes a host, enabled, or changes the one of that name. It
// becomes available with its first sign of life.
func (c *Control) RegisterHost(ctx context.Context, in RegisterHostInput) (HostInfo, error) {
	if in.Driver == "" {
		in.Driver = "qemu"
	}
	if err := Invalid(checkLabel(in.Name)); err != nil {
		return HostInfo{}, err
	}
	var out HostInfo
	err := c.write(ctx, "control.RegisterHost", func(tx *store.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		if _, err := tx.Region(ctx, in.Region); err != nil {
			return missing(err, holdfast.CodeRegionUnknown, "There is no region \""+shown(in.Region)+"\". Create it first.")
		}
		h, err := tx.HostByName(ctx, in.Name)
		if errors.Is(err, store.ErrNotFound) {
			h, err = holdfast.Host{ID: holdfast.NewID[holdfast.HostID](), Name: in.Name, CreatedAt: now, Enabled: true}, nil
		}
		if err != nil {
			return err
		}
		set(&h.Snapshots, in.Snapshots)
		h.Region, h.Driver, h.Capacity = in.Region, in.Driver, holdfast.CloudResources(in.Capacity)
		out = hostInfo(h, now)
		return tx.PutHost(ctx, h)
	})
	return out, err
}

// EnableHostInput names a host by id or name.
type EnableHostInput struct {
	Host    string `json:"host"`
	Enabled bool   `json:"enabled"`
}

// EnableHost lets a host take new VPSs and operations, or keeps it from them.
func (c *Control) EnableHost(ctx context.Context, in EnableHostInput) (HostInfo, error) {
	var out HostInfo
	err := c.write(ctx, "control.EnableHost", func(tx *store.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		h, err := findHost(ctx, tx.Queries(), in.Host)
		if err != nil {
			return err
		}
		h.Enabled = in.Enabled
		out = hostInfo(h, now)
		return tx.PutHost(ctx, h)
	})
	return out, err
}

// TouchHost notes a sign of life of a host. It is cheap to call often.
func (c *Control) TouchHost(ctx context.Context, id holdfast.HostID) error {
	return told("control.TouchHost", c.store.TxLease(ctx, func(tx *store.Tx) error {
		return tx.TouchHost(ctx, id, holdfast.HostAlive/6)
	}))
}

// ReportRoom notes how many bytes are free where a host's disks lie.
func (c *Control) ReportRoom(ctx context.Context, id holdfast.HostID, bytes int64) error {
	return c.urgent(ctx, "control.ReportRoom", func(tx *store.Tx) error { return tx.SetRoom(ctx, id, max(bytes, 1)) })
}

// ListHosts lists all hosts by name.
func (c *Control) ListHosts(ctx context.Context) ([]HostInfo, error) {
	const op = "control.ListHosts"
	now, err := c.store.Now(ctx)
	if err != nil {
		return nil, told(op, err)
	}
	hosts, err := c.store.Hosts(ctx)
	return each(hosts, func(h holdfast.Host) HostInfo { return hostInfo(h, now) }), told(op, err)
}

// findHost finds a host by id or name.
func findHost(ctx context.Context, q *store.Queries, s string) (holdfast.Host, error) {
	none := "There is no host \"" + shown(s) + "\"."
	if id, err := holdfast.ParseID[holdfast.HostID](s); err == nil {
		h, err := q.Host(ctx, id)
		return h, missing(err, holdfast.CodeNotFound, none)
	}
	h, err := q.HostByName(ctx, s)
	return h, missing(err, holdfast.CodeNotFound, none)
}
