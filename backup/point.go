package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/vault"
)

// point is the journal's record of the point in time.
type point struct {
	Number      int            `json:"number"` // 1 for the first
	At          time.Time      `json:"at"`     // the instant, by the host's clock
	Consistency string         `json:"consistency"`
	Reason      string         `json:"reason,omitempty"` // why it is no better
	Taken       bool           `json:"taken"`            // Begin returned
	Handle      compute.Handle `json:"handle"`
}

// The keys of a backup's journal.
const (
	keyPoint  = "point"
	keyNumber = "points"
	keyWhole  = "whole" // true: there is no parent to build on
	keyWhy    = "why"   // there is none
	keySample = "sample"
)

// load reads the point in time that this claim or a predecessor journalled.
func (b *attempt) load() error {
	if b.point != nil {
		return nil
	}
	_, err := b.run.Load(keyPoint, &b.point)
	return err
}

// take finds the point in time of a predecessor whole, or takes a new one.
func (b *attempt) take(ctx context.Context) error {
	if err := b.load(); err != nil {
		return err
	}
	if b.point != nil && b.point.Taken {
		err := b.Host.Driver.Recover(ctx, b.point.Handle)
		if err == nil {
			return nil
		}
		if !errors.Is(err, compute.ErrPointLost) {
			return fmt.Errorf("backup: recover the point in time: %w", err)
		}
	}
	if b.point != nil { // lost, or cut off while it was taken
		if err := b.abandon(ctx); err != nil {
			return err
		}
	}
	return b.begin(ctx)
}

func (b *attempt) begin(ctx context.Context) error {
	number, err := b.number(ctx)
	if err != nil {
		return err
	}
	op := b.run.Operation
	req := compute.PointRequest{
		Machine: string(op.VPSID),
		Point:   compute.Point(fmt.Sprintf("%s.%d", op.BackupID.ULID(), number)),
	}
	if req.Parents, err = b.parents(ctx); err != nil {
		return err
	}
	if req.WriteBytesPerSecond, err = b.throttle(); err != nil {
		return err
	}
	before, err := b.Host.Driver.Inspect(ctx, req.Machine)
	if err != nil {
		return fmt.Errorf("backup: inspect: %w", err)
	}
	p := &point{Number: number, Consistency: holdfast.ConsistencyCrash}
	h, err := b.Host.Driver.Begin(ctx, req, func(h compute.Handle) error {
		p.Handle, p.At = h, time.Now()
		b.point = p
		return b.run.Save(ctx, keyPoint, p)
	})
	if err != nil {
		return fmt.Errorf("backup: take the point in time: %w", err)
	}
	after, err := b.Host.Driver.Inspect(ctx, req.Machine)
	if err != nil {
		return fmt.Errorf("backup: inspect: %w", err)
	}
	p.Consistency, p.Reason = consistency(h, before.Power == compute.Stopped && after.Power == compute.Stopped)
	p.Handle, p.Taken = h, true
	b.point = p
	return b.run.Save(ctx, keyPoint, p)
}

// consistency says what may be relied on in the point's file systems, and why
// that is no more than it is.
func consistency(h compute.Handle, stopped bool) (value, reason string) {
	switch {
	case stopped:
		return holdfast.ConsistencyOffline, ""
	case h.Frozen:
		return holdfast.ConsistencyFilesystem, ""
	case h.NotFrozen == "":
		return holdfast.ConsistencyCrash, "the VPS was paused"
	}
	return holdfast.ConsistencyCrash, h.NotFrozen
}

// number counts the points in time of all claims, so that no two share a name.
func (b *attempt) number(ctx context.Context) (int, error) {
	var n int
	if _, err := b.run.Load(keyNumber, &n); err != nil {
		return 0, err
	}
	n++
	return n, b.run.Save(ctx, keyNumber, n)
}

// parents are the points whose backups can still be built on: some may have
// been deleted, or have become damaged, since the backup was asked for.
func (b *attempt) parents(ctx context.Context) ([]compute.Point, error) {
	whole := false
	if _, err := b.run.Load(keyWhole, &whole); err != nil || whole {
		return nil, err
	}
	var found []compute.Point
	for _, p := range b.in.Parents {
		switch _, err := b.usable(ctx, p); {
		case err == nil:
			found = append(found, compute.Point(p.Point))
		case errors.Is(err, errParent):
			b.Log.WarnContext(ctx, "an earlier backup cannot be built on", "job", b.run.Operation.ID, "backup", p.ID, "err", err)
		default:
			return nil, err
		}
	}
	return found, nil
}

// usable reads the manifest of a parent: errParent if it is not there or not whole.
func (b *attempt) usable(ctx context.Context, p holdfast.ParentBackup) (vault.Manifest, error) {
	m, err := b.vault.Manifest(ctx, string(p.ID))
	if errors.Is(err, vault.ErrNoBackup) || vault.IsDamage(err) {
		return m, fmt.Errorf("%w: %w", errParent, err)
	}
	return m, err
}
