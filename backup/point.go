package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast"
	"holdfast/compute"
)

// point is the journal's record of the point in time.
type point struct {
	Number      int            `json:"number"` // 1 for the first
	At          time.Time      `json:"at"`     // the instant, by the host's clock
	Consistency string         `json:"consistency"`
	Taken       bool           `json:"taken"` // Begin returned
	Handle      compute.Handle `json:"handle"`
}

// The keys of a backup's journal.
const (
	keyPoint  = "point"
	keyNumber = "points"
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
	var number int
	if _, err := b.run.Load(keyNumber, &number); err != nil {
		return err
	}
	number++
	if err := b.run.Save(ctx, keyNumber, number); err != nil {
		return err
	}
	op := b.run.Operation
	state, err := b.Host.Driver.Inspect(ctx, string(op.VPSID))
	if err != nil {
		return fmt.Errorf("backup: inspect: %w", err)
	}
	p := &point{Number: number, Consistency: holdfast.ConsistencyCrash}
	if state.Power == compute.Stopped {
		p.Consistency = holdfast.ConsistencyOffline
	}
	req := compute.PointRequest{
		Machine: string(op.VPSID),
		Point:   compute.Point(fmt.Sprintf("%s.%d", op.BackupID.ULID(), number)),
	}
	for _, parent := range b.in.Parents {
		req.Parents = append(req.Parents, compute.Point(parent.Point))
	}
	h, err := b.Host.Driver.Begin(ctx, req, func(h compute.Handle) error {
		p.Handle, p.At = h, time.Now()
		b.point = p
		return b.run.Save(ctx, keyPoint, p)
	})
	if err != nil {
		return fmt.Errorf("backup: take the point in time: %w", err)
	}
	p.Handle, p.Taken = h, true
	b.point = p
	return b.run.Save(ctx, keyPoint, p)
}
