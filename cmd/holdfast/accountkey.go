package main

import (
	"context"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// firstEpoch is that of the data key that a key ring begins with.
const firstEpoch = 1

// account reads an account that has a key.
func (in *installation) account(ctx context.Context, id holdfast.AccountID) (holdfast.Account, error) {
	a, err := in.store.Account(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return a, holdfast.Wrap(holdfast.CodeNotFound, "vaults", "There is no account "+string(id)+".", err)
	}
	if err != nil {
		return a, fmt.Errorf("account %s: %w", id, err)
	}
	return a, holdfast.ShreddedGate(a).Err()
}

// newAccountKey draws an account's key and returns it wrapped.
func (in *installation) newAccountKey(_ context.Context, account holdfast.AccountID) ([]byte, error) {
	return in.master.WrapAccount(string(account), keys.NewAccountKey()), nil
}

// accountKeys unwraps what the master key opens of an account's keys: two while
// the account's key is being rotated, the new one first.
func (in *installation) accountKeys(a holdfast.Account) ([]keys.AccountKey, error) {
	var out []keys.AccountKey
	for _, wrapped := range [][]byte{a.NextWrappedKey, a.WrappedKey} {
		k, err := in.master.UnwrapAccount(string(a.ID), wrapped)
		if err == nil && (len(out) == 0 || !out[0].Equal(k)) {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("account %s: the master key does not open the account's key; if it was replaced meanwhile, restart the service: %w", a.ID, keys.ErrWrongKey)
	}
	return out, nil
}

// accountKey is the key of an account that no rotation is changing.
func (in *installation) accountKey(ctx context.Context, id holdfast.AccountID) (keys.AccountKey, error) {
	a, err := in.account(ctx, id)
	if err != nil {
		return keys.AccountKey{}, err
	}
	found, err := in.accountKeys(a)
	if err != nil {
		return keys.AccountKey{}, err
	}
	if len(found) > 1 {
		return keys.AccountKey{}, holdfast.E(holdfast.CodeOperationInProgress, "The key of the account is being replaced. End that first: `holdfast key rotate-account --account "+string(id)+"`.")
	}
	return found[0], nil
}

// ringSource reads the account's ring from a place of its vault. What the database
// says is read first: a rotation writes it last.
func (in *installation) ringSource(id holdfast.AccountID, st blob.Storage) vault.RingSource {
	return func(ctx context.Context) (ring keys.Ring, floor uint32, err error) {
		for range 2 { // a rotation may end between the two readings
			a, err := in.account(ctx, id)
			if err != nil {
				return ring, 0, err
			}
			candidates, err := in.accountKeys(a)
			if err != nil {
				return ring, 0, err
			}
			ring, _, err = vault.ReadRing(ctx, st, string(id), candidates...)
			if !errors.Is(err, keys.ErrWrongKey) {
				return ring, a.RingEpoch, err
			}
		}
		return ring, 0, keys.ErrWrongKey
	}
}

// newVaultConfig describes a vault to be made for an account. If one was lost, the
// epochs go on from where it was.
func (in *installation) newVaultConfig(ctx context.Context, id holdfast.AccountID) (vault.Config, error) {
	a, err := in.account(ctx, id)
	if err != nil {
		return vault.Config{}, err
	}
	found, err := in.accountKeys(a)
	if err != nil {
		return vault.Config{}, err
	}
	ring := keys.NewRing()
	for err == nil && ring.Current() < a.RingEpoch {
		ring, err = ring.Rotate()
	}
	return vault.Config{
		Account: string(id), Ring: ring, WrappedAccount: in.master.WrapAccount(string(id), found[0]),
		MasterCheck: in.master.Check(), WrappedRing: found[0].WrapRing(string(id), ring),
	}, err
}
