package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast"
	"holdfast/store"
)

func TestGenerations(t *testing.T) {
	now := noon
	s := open(t, store.WithWallClock(func() time.Time { return now }))
	w := newWorld(t, s)
	v, ctx := w.vps(t), t.Context()
	v.LastGeneration, v.Base = 7, holdfast.NewID[holdfast.BackupID]()
	made := func(number int, state holdfast.GenerationState) holdfast.Generation {
		return holdfast.Generation{
			VPSID: v.ID, AccountID: v.AccountID, HostID: v.HostID, Number: number, State: state, Disks: v.Disks, OS: v.OS,
			Base: v.Base, ExpiresAt: noon.Add(time.Hour), DueAt: time.UnixMicro(1).UTC(), Error: "no",
		}
	}
	safety, gone := made(4, holdfast.GenerationSafety), made(5, holdfast.GenerationDropping)
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertVPS(ctx, v), tx.InsertGeneration(ctx, safety), tx.InsertGeneration(ctx, gone))
	})
	got, err := s.Safety(ctx, v.ID)
	same(t, "safety point", got, err, safety)
	got, err = s.Generation(ctx, v.ID, 5)
	same(t, "generation", got, err, gone)
	read, err := s.VPS(ctx, v.ID)
	same(t, "vps", read, err, v)
	if err := s.Tx(ctx, func(tx *store.Tx) error { return tx.InsertGeneration(ctx, made(6, holdfast.GenerationReturning)) }); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a second safety point: %v", err)
	}
	due := func(want ...int) {
		t.Helper()
		all, err := s.DueGenerations(ctx, 10)
		var have []int
		for _, g := range all {
			have = append(have, g.Number)
		}
		same(t, "due", have, err, want)
	}
	due(5)
	now = noon.Add(time.Hour)
	due(4, 5)
	// One operation at a time drops disks of a VPS, and nothing is due meanwhile.
	drop := w.operation(v, holdfast.KindGenerationDrop, holdfast.LockNone)
	write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.InsertOperation(ctx, drop) })
	due()
	again := w.operation(v, holdfast.KindGenerationDrop, holdfast.LockNone)
	if err := s.Tx(ctx, func(tx *store.Tx) error { return tx.InsertOperation(ctx, again) }); !errors.Is(err, store.ErrConflict) {
		t.Errorf("two drops at once: %v", err)
	}
	if ops, _, err := s.ListOperations(ctx, v.AccountID, store.OperationFilter{}, store.Page{Limit: 10}); err != nil || len(ops) > 0 {
		t.Errorf("a customer sees %+v, %v", ops, err)
	}
	// An undo keeps what an expiry has not yet taken, and the other way round.
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.SetGeneration(ctx, v.ID, 4, holdfast.GenerationSafety, holdfast.GenerationReturning)
	})
	if err := s.Tx(ctx, func(tx *store.Tx) error {
		return tx.SetGeneration(ctx, v.ID, 4, holdfast.GenerationSafety, holdfast.GenerationDropping)
	}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an expiry took what comes back: %v", err)
	}
	v.Generation, v.LastGeneration, v.Base, v.OS, v.Disks = 4, 8, "", nil, v.Disks[:1]
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.SetVPSGeneration(ctx, v), tx.DeleteGenerations(ctx, v.ID))
	})
	read, err = s.VPS(ctx, v.ID)
	same(t, "vps with other disks", read, err, v)
	if _, err := s.Generation(ctx, v.ID, 5); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("generations of a VPS that is gone: %v", err)
	}
}
