package main

import (
	"context"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/blob"
)

// Twin implements backup.Vaults.
func (v *vaults) Twin(ctx context.Context, account holdfast.AccountID, place string) (*vault.Vault, error) {
	s, err := v.site(place)
	if err != nil {
		return nil, err
	}
	if err := v.catchUpAt(ctx, account, s); err != nil {
		return nil, err
	}
	return v.at(ctx, account, s, func(ctx context.Context, account holdfast.AccountID, st blob.Storage) (*vault.Vault, error) {
		made, away := v.twinOfAny(ctx, account, st, s)
		if made == nil && away == nil {
			away = vault.ErrNoVault
		}
		if made == nil {
			return nil, away
		}
		// Whatever was copied here before is not here any more.
		return made, v.store.Tx(ctx, func(tx *store.Tx) error { return tx.ResetCopies(ctx, account, place) })
	})
}

// remake makes the vault at the first place anew, where another place has it: what
// is backed up from now on must fit the copies. Nil and no error: there is none.
func (v *vaults) remake(ctx context.Context, account holdfast.AccountID, st blob.Storage) (*vault.Vault, error) {
	made, away := v.twinOfAny(ctx, account, st, v.sites[0])
	if made != nil || away == nil {
		return made, nil
	}
	// Only an account that never completed a backup certainly has no vault anywhere.
	if known, err := v.store.HasBackups(ctx, account); err != nil || known {
		return nil, errors.Join(err, fmt.Errorf("the vault is not at the first place, and whether it is at another one cannot be told: %w", away))
	}
	return nil, nil //nolint:nilnil // there is none
}

// twinOfAny makes a vault as a copy of the account's at any other site. If it makes
// none, away is why a site could not be asked; nil: all could, and have none.
func (v *vaults) twinOfAny(ctx context.Context, account holdfast.AccountID, st blob.Storage, at *site) (made *vault.Vault, away error) {
	for _, s := range v.sites {
		if s == at || s.mounted() && s.none(account) {
			continue
		}
		from, err := s.storage(account)
		if err == nil {
			made, err = v.twin(ctx, account, from, st, at)
		}
		switch {
		case err == nil:
			return made, nil
		case !errors.Is(err, vault.ErrNoVault):
			away = errors.Join(away, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return nil, away
}

// twin makes a copy of the vault in one storage in another, under the account's
// keys as they are now.
func (v *vaults) twin(ctx context.Context, account holdfast.AccountID, from, to blob.Storage, at *site) (*vault.Vault, error) {
	ring, _, err := v.ringSource(account, from)(ctx)
	if err != nil {
		return nil, err
	}
	source, err := vault.Open(ctx, from, ring)
	if err != nil {
		return nil, err
	}
	a, err := v.account(ctx, account)
	if err != nil {
		return nil, err
	}
	found, err := v.accountKeys(a)
	if err != nil {
		return nil, err
	}
	_, err = source.InitCopy(ctx, to, vault.Config{
		Account: string(account), Ring: ring, WrappedAccount: v.master.WrapAccount(string(account), found[0]),
		MasterCheck: v.master.Check(), WrappedRing: found[0].WrapRing(string(account), ring),
	})
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return nil, err
	}
	return v.unlock(ctx, account, to, v.indexCacheAt(account, at))
}
