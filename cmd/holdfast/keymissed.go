package main

import (
	"context"
	"errors"

	"holdfast"
	"holdfast/vault"
	"holdfast/vault/keys"
)

// catchUpAt brings a further place that was away during a rotation to the keys that
// the other places have. While a command works on keys, or a rotation has not ended,
// it leaves them alone: either key opens them then.
func (v *vaults) catchUpAt(ctx context.Context, account holdfast.AccountID, s *site) error {
	if s.mounted() && s.none(account) {
		return nil
	}
	st, err := s.storage(account)
	if err != nil {
		return err
	}
	ring, floor, err := v.ringSource(account, st)(ctx)
	switch {
	case errors.Is(err, vault.ErrNoVault):
		return nil // it is made
	case err != nil && !errors.Is(err, keys.ErrWrongKey):
		return err
	}
	missed := err != nil || ring.Current() < floor
	if !missed {
		_, err = v.ring(ctx, account, st)
	}
	if err == nil && !missed {
		return nil
	}
	lock, err := v.lockKeys()
	if err != nil {
		return err
	}
	return errors.Join(v.afterMissed(ctx, account, s, missed), lock.Close())
}

// afterMissed does it under the lock. Only what another place shows under the
// account's present key is put there, and only beside an older state of the same.
func (v *vaults) afterMissed(ctx context.Context, account holdfast.AccountID, s *site, missed bool) error {
	a, err := v.account(ctx, account)
	if err != nil {
		return err
	}
	_, next, err := masterChecks(ctx, v.store)
	if err != nil {
		return err
	}
	if next != "" || len(a.NextWrappedKey) > 0 {
		return nil
	}
	found, err := v.accountKeys(a) // fails for a service that has an old master key
	if err != nil {
		return err
	}
	if missed {
		places, newest, _, err := v.keyPlaces(ctx, a, found...)
		if err != nil {
			return err
		}
		if err := v.catchUp(ctx, account, places, found[0], newest); err != nil {
			return err
		}
	}
	st, err := s.storage(account)
	if err != nil {
		return err
	}
	// The master key may have been replaced meanwhile, too.
	if err := vault.PutAccountKey(ctx, st, string(account), v.master, found[0]); err != nil {
		return err
	}
	_, err = vault.RetireAccountKeys(ctx, st, string(account), v.master, found[0])
	return err
}
