package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// vaults opens the accounts' vaults at the sites, and makes an account's vault at
// its first use. Opened ones are kept: their index is.
type vaults struct {
	*installation

	mu   sync.Mutex
	open map[vaultKey]*vault.Vault
}

type vaultKey struct {
	account holdfast.AccountID
	place   string
}

// Open implements backup.Vaults. An account whose key was destroyed has no vault
// anywhere, and gets none.
func (v *vaults) Open(ctx context.Context, account holdfast.AccountID) (*vault.Vault, error) {
	return v.at(ctx, account, v.sites[0], v.create)
}

// Places implements backup.Vaults.
func (v *vaults) Places() []string {
	var names []string
	for _, s := range v.sites {
		names = append(names, s.name)
	}
	return names
}

// At implements backup.Vaults.
func (v *vaults) At(ctx context.Context, account holdfast.AccountID, place string) (*vault.Vault, error) {
	s, err := v.site(place)
	if err != nil {
		return nil, err
	}
	return v.at(ctx, account, s, nil)
}

// at opens a vault; one that is not there is made, unless create is nil. A place may
// be slow or away, so nobody waits for another's.
func (v *vaults) at(ctx context.Context, account holdfast.AccountID, s *site, create func(context.Context, holdfast.AccountID, blob.Storage) (*vault.Vault, error)) (*vault.Vault, error) {
	key := vaultKey{account, s.name}
	if _, err := v.account(ctx, account); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.open, key) // with its keys
		return nil, err
	}
	if opened, err := v.opened(ctx, key); opened != nil || err != nil {
		return opened, err
	}
	if create == nil && s.mounted() && s.none(account) {
		return nil, vault.ErrNoVault
	}
	if err := s.prove(ctx, v.store); err != nil {
		return nil, err
	}
	st, err := s.storage(account)
	if err != nil {
		return nil, err
	}
	opened, err := v.unlock(ctx, account, st, v.indexCacheAt(account, s))
	if errors.Is(err, vault.ErrNoVault) && create != nil {
		opened, err = create(ctx, account, st)
	}
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open == nil {
		v.open = map[vaultKey]*vault.Vault{}
	}
	if v.open[key] == nil {
		v.open[key] = opened
	}
	return v.open[key], nil
}

// opened is a vault that was opened before and is still there; nil if there is none.
func (v *vaults) opened(ctx context.Context, key vaultKey) (*vault.Vault, error) {
	v.mu.Lock()
	opened := v.open[key]
	v.mu.Unlock()
	if opened == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	err := opened.Present(ctx)
	if !errors.Is(err, vault.ErrNoVault) {
		return opened, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open[key] == opened {
		delete(v.open, key)
	}
	return nil, nil //nolint:nilnil // there is none any more
}

// unlock opens a vault that is there. Whoever can write to the site could put
// another account's vault here, or an old state of its keys, so the account's own
// key decides, and how far its ring is known to have come.
func (v *vaults) unlock(ctx context.Context, account holdfast.AccountID, st blob.Storage, options ...vault.Option) (*vault.Vault, error) {
	source := v.ringSource(account, st)
	ring, floor, err := source(ctx)
	if err != nil {
		return nil, fmt.Errorf("the vault of account %s: %w", account, err)
	}
	opened, err := vault.Open(ctx, st, ring, options...)
	if err != nil {
		return nil, err
	}
	opened.Follow(source)
	if ring.Current() > max(floor, firstEpoch) { // the database may be older than the vault
		err = v.store.TxUrgent(ctx, func(tx *store.Tx) error { return tx.RaiseRingEpoch(ctx, account, ring.Current()) })
	}
	return opened, err
}

// ring opens a vault's keys as a recovery without the database would, with the
// master key alone, and proves that they are the account's own.
func (v *vaults) ring(ctx context.Context, account holdfast.AccountID, st blob.Storage) (keys.Ring, error) {
	a, err := v.account(ctx, account)
	if err != nil {
		return keys.Ring{}, err
	}
	own, err := v.accountKeys(a)
	if err != nil {
		return keys.Ring{}, err
	}
	owner, key, ring, err := vault.Unlock(ctx, st, v.master)
	if err != nil {
		return keys.Ring{}, err
	}
	if owner != string(account) || !slices.ContainsFunc(own, key.Equal) {
		return keys.Ring{}, fmt.Errorf("the vault of account %s holds the keys of %s: %w", account, owner, keys.ErrWrongKey)
	}
	return ring, nil
}

// sound opens a vault, and proves that it would open without the database too.
func (v *vaults) sound(ctx context.Context, account holdfast.AccountID, st blob.Storage) (*vault.Vault, error) {
	opened, err := v.unlock(ctx, account, st, v.indexCache(account))
	if err != nil {
		return nil, err
	}
	if _, err = v.ring(ctx, account, st); errors.Is(err, vault.ErrNoVault) {
		err = fmt.Errorf("%w: the account's key is gone from it", vault.ErrFormat)
	}
	return opened, err
}

// create makes the vault; another process may be faster.
func (v *vaults) create(ctx context.Context, account holdfast.AccountID, st blob.Storage) (*vault.Vault, error) {
	if made, err := v.remake(ctx, account, st); made != nil || err != nil {
		return made, err
	}
	c, err := v.newVaultConfig(ctx, account)
	if err != nil {
		return nil, err
	}
	if _, err := vault.Init(ctx, st, c); err != nil && !errors.Is(err, blob.ErrExists) {
		return nil, err
	}
	return v.unlock(ctx, account, st, v.indexCache(account))
}
