package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/store"
)

func TestIdempotency(t *testing.T) {
	now := noon
	s := open(t, store.WithWallClock(func() time.Time { return now }))
	ctx := t.Context()
	w := newWorld(t, s)
	k := store.IdempotencyKey{Account: w.account.ID, Caller: "key_1", Method: "POST", Path: "/x", Key: "k"}
	begin := func(k store.IdempotencyKey, owner string) (store.IdempotentRequest, bool) {
		t.Helper()
		var r store.IdempotentRequest
		var first bool
		write(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
			r, first, err = tx.BeginIdempotent(ctx, k, "f", owner)
			return err
		})
		return r, first
	}
	if _, first := begin(k, "a"); !first {
		t.Fatal("a new key is taken")
	}
	if r, first := begin(k, "b"); first || r.Done || r.Owner != "a" || r.Fingerprint != "f" {
		t.Fatalf("%+v %v", r, first)
	}
	for _, other := range []func(*store.IdempotencyKey){
		func(k *store.IdempotencyKey) { k.Caller = "key_2" }, func(k *store.IdempotencyKey) { k.Method = "PUT" },
		func(k *store.IdempotencyKey) { k.Path = "/y" }, func(k *store.IdempotencyKey) { k.Key = "K" },
	} {
		k := k
		other(&k)
		if _, first := begin(k, "b"); !first {
			t.Errorf("%+v is taken", k)
		}
	}
	complete := func(owner string) error {
		return s.Tx(ctx, func(tx *store.Tx) error {
			return tx.CompleteIdempotent(ctx, k, owner, 202, map[string]string{"a": "b"}, []byte("body"))
		})
	}
	if err := complete("b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("completed by another: %v", err)
	}
	if err := complete("a"); err != nil {
		t.Fatal(err)
	}
	r, err := s.IdempotentRequest(ctx, k)
	same(t, "the answer", r, err, store.IdempotentRequest{Fingerprint: "f", Owner: "a", Done: true, Status: 202,
		Headers: map[string]string{"a": "b"}, Body: []byte("body"), CreatedAt: noon})
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ReleaseAbandoned(ctx, "a")
		if n != 4 {
			t.Errorf("%d abandoned", n)
		}
		return errors.Join(err, tx.ReleaseIdempotent(ctx, k, "a")) // a known answer stays
	})
	now = noon.Add(24*time.Hour + time.Microsecond)
	fresh := k
	fresh.Key = "fresh"
	begin(fresh, "a")
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ExpireIdempotent(ctx, 24*time.Hour, 10)
		if n != 1 {
			t.Errorf("%d expired", n)
		}
		return err
	})
	if _, first := begin(k, "c"); !first {
		t.Error("an expired key is taken")
	}
}
