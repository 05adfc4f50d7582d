package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"holdfast"
	"holdfast/store"
)

func charge(t *testing.T, s *store.Store, caller string, c store.Charge) (granted bool, whole time.Duration) {
	t.Helper()
	err := s.TxLease(t.Context(), func(tx *store.Tx) (err error) {
		granted, whole, err = tx.ChargeCaller(t.Context(), caller, c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return granted, whole
}

func TestCharges(t *testing.T) {
	var steady time.Duration
	s := open(t, store.WithSteadyClock(func() time.Duration { return steady }))
	const second = time.Second
	for i, c := range []struct {
		pass    time.Duration
		caller  string
		charge  store.Charge
		granted bool
		whole   time.Duration
	}{
		{0, "a", store.Charge{Cost: 2 * second, Burst: 3 * second}, true, 2 * second},
		{0, "a", store.Charge{Cost: 2 * second, Burst: 3 * second}, false, 2 * second},
		{0, "b", store.Charge{Cost: 4 * second, Burst: 3 * second}, false, 0},
		{0, "a", store.Charge{Cost: second, Burst: 3 * second}, true, 3 * second},
		{second, "a", store.Charge{Cost: second, Burst: 3 * second}, true, 3 * second},
		{2 * second, "a", store.Charge{Cost: second, Hold: 2 * second, Burst: 3 * second}, true, 3 * second}, // as if in two seconds
		{0, "a", store.Charge{Cost: 1, Burst: 3 * second}, false, 3 * second},                                // less than is counted, and not nothing
		{time.Hour, "a", store.Charge{Cost: second, Burst: 3 * second}, true, second},
		{0, "c", store.Charge{Cost: 9 * second, Burst: 10 * second}, true, 9 * second},
		{0, "c", store.Charge{Cost: 2 * second, Burst: 5 * second}, false, 5 * second}, // the limit became less
		{3 * second, "c", store.Charge{Cost: 2 * second, Burst: 8 * second}, true, 8 * second},
	} {
		steady += c.pass
		if granted, whole := charge(t, s, c.caller, c.charge); granted != c.granted || whole != c.whole {
			t.Errorf("%d: %v %v", i, granted, whole)
		}
	}
	steady += time.Hour
	charge(t, s, "d", store.Charge{Cost: second, Burst: 3 * second})
	var n [3]int
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		var errs [3]error
		for i := range n {
			n[i], errs[i] = tx.ForgetLimits(ctx, 1)
		}
		return errors.Join(errs[:]...)
	})
	if n != [3]int{1, 1, 0} {
		t.Errorf("%v are forgotten", n)
	}
}

// 64 clients of two processes: what they get together is the burst, exactly.
func TestChargesOfManyAtOnce(t *testing.T) {
	const clients, each, burst = 64, 4, 100
	path := t.TempDir() + "/DB"
	var steady time.Duration // stands still
	clock := store.WithSteadyClock(func() time.Duration { return steady })
	both := []*store.Store{openAt(t, path, store.WithReserve(0), clock), openAt(t, path, store.WithReserve(0), clock)}
	var mu sync.Mutex
	got := 0
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for range each {
				err := both[i%2].TxLease(t.Context(), func(tx *store.Tx) error {
					granted, _, err := tx.ChargeCaller(t.Context(), "a", store.Charge{Cost: time.Second, Burst: burst * time.Second})
					mu.Lock()
					defer mu.Unlock()
					if granted {
						got++
					}
					return err
				})
				if err != nil {
					t.Error(fmt.Errorf("client %d: %w", i, err))
				}
			}
		})
	}
	wg.Wait()
	if got != burst {
		t.Errorf("%d instead of %d", got, burst)
	}
}

// The use of a key is noted once a minute.
func TestKeysAreTouched(t *testing.T) {
	now := noon
	s := open(t, store.WithWallClock(func() time.Time { return now }))
	w := newWorld(t, s)
	k := holdfast.APIKey{ID: holdfast.NewID[holdfast.KeyID](), AccountID: w.account.ID, Name: "k", Hash: "h", CreatedAt: noon}
	write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.InsertAPIKey(ctx, k) })
	for i, c := range []struct{ pass, want time.Duration }{
		{0, 0}, {59 * time.Second, 0}, {time.Second, time.Minute}, {time.Second, time.Minute}, {-time.Hour, 61*time.Second - time.Hour},
	} {
		now = now.Add(c.pass)
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.TouchAPIKey(ctx, k.ID, time.Minute), tx.TouchAPIKey(ctx, "key_unknown", 0))
		})
		got, _, err := s.APIKeyByHash(t.Context(), "h")
		if err != nil || got.LastUsedAt.Sub(noon) != c.want {
			t.Errorf("%d: %v: %v", i, got.LastUsedAt, err)
		}
	}
}
