package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast"
	"holdfast/store"
)

// The server's clock steps while a lease is held: nothing that lives is taken over,
// and what is dead is, one lease later.
func TestClaimsWhenTheClockSteps(t *testing.T) {
	const ttl = 10 * time.Second
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour, "not at all": 0} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			server, own := noon, time.Duration(0)
			s.FollowServer(func() time.Time { return server }, func() time.Duration { return own })
			w := newWorld(t, s)
			live, dead := w.operation(w.vps(t), holdfast.KindBackup, holdfast.LockNone), w.operation(w.vps(t), holdfast.KindBackup, holdfast.LockNone)
			dead.CreatedAt = noon.Add(time.Second)
			write(t, s, func(ctx context.Context, tx *store.Tx) error {
				return errors.Join(tx.InsertOperation(ctx, live), tx.InsertOperation(ctx, dead))
			})
			claim := func() (o holdfast.Operation) {
				t.Helper()
				err := s.TxLease(t.Context(), func(tx *store.Tx) (err error) {
					o, err = tx.ClaimOperation(t.Context(), w.host.ID, []holdfast.Kind{holdfast.KindBackup}, "r", ttl)
					if errors.Is(err, store.ErrNotFound) {
						return nil // what else it did stays
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return o
			}
			if claim().ID != live.ID || claim().ID != dead.ID {
				t.Fatal("the two are not claimed")
			}
			pass := func(d time.Duration) {
				server, own = server.Add(d), own+d
				write(t, s, func(ctx context.Context, tx *store.Tx) error {
					_, err := tx.RenewOperation(ctx, store.Held{Job: live.ID, Epoch: 1, Runner: "r"}, ttl, holdfast.Progress{})
					return err
				})
			}
			pass(time.Second)
			server = server.Add(step)
			for range 3 {
				if o := claim(); o.ID != "" {
					t.Fatalf("%s is taken over", o.ID)
				}
				pass(3 * time.Second)
			}
			pass(ttl)
			if o := claim(); o.ID != dead.ID || o.Epoch != 2 {
				t.Errorf("the dead one is not taken over: %+v", o)
			}
		})
	}
}
