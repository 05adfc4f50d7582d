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

// Open implements backup.Vaults.
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
	opened, err := v.unlock(ctx, account, st)
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
// another account's vault here, so the account's own key decides.
func (v *vaults) unlock(ctx context.Context, account holdfast.AccountID, st blob.Storage) (*vault.Vault, error) {
	owner, key, ring, err := vault.Unlock(ctx, st, v.master)
	if err != nil {
		return nil, err
	}
	own, err := v.accountKey(ctx, account)
	if err != nil {
		return nil, err
	}
	if owner != string(account) || !own.Equal(key) {
		return nil, fmt.Errorf("the vault of account %s holds the keys of %s: %w", account, owner, keys.ErrWrongKey)
	}
	return vault.Open(ctx, st, ring)
}

// create makes the vault; another process may be faster.
func (v *vaults) create(ctx context.Context, account holdfast.AccountID, st blob.Storage) (*vault.Vault, error) {
	a, err := v.store.Account(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", account, err)
	}
	if made, err := v.remake(ctx, account, st); made != nil || err != nil {
		return made, err
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
