package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// vaults opens the accounts' vaults at the site, and makes an account's
// vault at its first use. Opened ones are kept: their index is.
type vaults struct {
	*installation

	mu   sync.Mutex
	open map[holdfast.AccountID]*vault.Vault
}

// Open implements backup.Vaults.
func (v *vaults) Open(ctx context.Context, account holdfast.AccountID) (*vault.Vault, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if opened := v.open[account]; opened != nil {
		return opened, nil
	}
	st, err := v.storage(account)
	if err != nil {
		return nil, err
	}
	opened, err := v.unlock(ctx, account, st)
	if errors.Is(err, vault.ErrNoVault) {
		opened, err = v.create(ctx, account, st)
	}
	if err != nil {
		return nil, err
	}
	if v.open == nil {
		v.open = map[holdfast.AccountID]*vault.Vault{}
	}
	v.open[account] = opened
	return opened, nil
}

// unlock opens a vault that is there.
func (v *vaults) unlock(ctx context.Context, account holdfast.AccountID, st blob.Storage) (*vault.Vault, error) {
	ring, err := v.ring(ctx, account, st)
	if err != nil {
		return nil, err
	}
	return vault.Open(ctx, st, ring)
}

// ring opens a vault's keys. Whoever can write to the site could put another
// account's vault there, so the account's own key decides.
func (v *vaults) ring(ctx context.Context, account holdfast.AccountID, st blob.Storage) (keys.Ring, error) {
	owner, key, ring, err := vault.Unlock(ctx, st, v.master)
	if err != nil {
		return keys.Ring{}, err
	}
	own, err := v.accountKey(ctx, account)
	if err != nil {
		return keys.Ring{}, err
	}
	if owner != string(account) || !own.Equal(key) {
		return keys.Ring{}, fmt.Errorf("the vault of account %s holds the keys of %s: %w", account, owner, keys.ErrWrongKey)
	}
	return ring, nil
}

// create makes the vault; another process may be faster.
func (v *vaults) create(ctx context.Context, account holdfast.AccountID, st blob.Storage) (*vault.Vault, error) {
	a, err := v.store.Account(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", account, err)
	}
	key, err := v.accountKey(ctx, account)
	if err != nil {
		return nil, err
	}
	ring := keys.NewRing()
	made, err := vault.Init(ctx, st, vault.Config{
		Account: string(account), Ring: ring, WrappedAccount: a.WrappedKey,
		MasterCheck: v.master.Check(), WrappedRing: key.WrapRing(string(account), ring),
	})
	if errors.Is(err, blob.ErrExists) {
		return v.unlock(ctx, account, st)
	}
	return made, err
}

// accountKey unwraps an account's key.
func (in *installation) accountKey(ctx context.Context, account holdfast.AccountID) (keys.AccountKey, error) {
	a, err := in.store.Account(ctx, account)
	if errors.Is(err, store.ErrNotFound) {
		return keys.AccountKey{}, holdfast.Wrap(holdfast.CodeNotFound, "vaults", "There is no account "+string(account)+".", err)
	}
	if err != nil {
		return keys.AccountKey{}, fmt.Errorf("account %s: %w", account, err)
	}
	return in.master.UnwrapAccount(string(account), a.WrappedKey)
}
