package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/keys"
)

const rotatedAccount = "Recovery kits issued before open nothing that these places hold now; print a new one. " +
	"They still open copies of the older keys/ blobs that were kept elsewhere, and whoever has used one may have kept the data keys: " +
	"`holdfast key rotate-data` keeps new backups from them."

func rotateAccountCommand() *cobra.Command {
	return keyAccountCommand("rotate-account", "Replace an account's key: recovery kits issued before stop opening its vault",
		`Rotate-account draws a new account key, wraps the account's key ring by it at every
place of its vault, and then removes the older wraps. No data is rewritten. The
service may run. Cut off at any point, the same command goes on; until it has
ended, either key opens the vault.`,
		func(cmd *cobra.Command, in *installation, id holdfast.AccountID) error {
			r, err := in.rotateAccount(cmd.Context(), id)
			if err != nil {
				return err
			}
			return r.print(cmd.OutOrStdout())
		})
}

func (in *installation) rotateAccount(ctx context.Context, id holdfast.AccountID) (rotation, error) {
	r := rotation{Account: id}
	if err := in.noMasterRotation(ctx); err != nil {
		return r, err
	}
	a, err := in.account(ctx, id)
	if err != nil {
		return r, err
	}
	r.Resumed = len(a.NextWrappedKey) > 0
	if err := in.vaultInMaking(ctx, a); err != nil {
		return r, err
	}
	if !r.Resumed {
		// The new key is known before any place has heard of it.
		a.NextWrappedKey = in.master.WrapAccount(string(id), keys.NewAccountKey())
		err := in.store.Tx(ctx, func(tx *store.Tx) error { return tx.SetAccountKeys(ctx, id, a.WrappedKey, a.NextWrappedKey) })
		if err != nil {
			return r, err
		}
	}
	candidates, err := in.accountKeys(a)
	if err != nil {
		return r, err
	}
	places, ring, _, err := in.keyPlaces(ctx, a, candidates...)
	if err != nil {
		return r, err
	}
	if err := in.replaceAccountKey(ctx, &r, places, candidates[0], ring); err != nil {
		return r, err
	}
	err = in.store.Tx(ctx, func(tx *store.Tx) error { return tx.SetAccountKeys(ctx, id, a.NextWrappedKey, nil) })
	if err != nil {
		return r, err
	}
	r.OldFinished, r.Note = true, rotatedAccount
	_, err = in.store.Scrub(ctx)
	return r, err
}

// replaceAccountKey puts the new wraps at all places, and only then removes the
// older ones.
func (in *installation) replaceAccountKey(ctx context.Context, r *rotation, places []keyPlace, key keys.AccountKey, ring keys.Ring) error {
	account := string(r.Account)
	err := r.each(places, func(p keyPlace) error {
		if err := vault.PutRing(ctx, p.st, account, key, ring); err != nil {
			return err
		}
		return vault.PutAccountKey(ctx, p.st, account, in.master, key)
	})
	if err != nil {
		return err
	}
	return r.each(places, func(p keyPlace) error {
		removed, err := vault.RetireRings(ctx, p.st, account, key, ring)
		if err := r.retire(p, removed, err); err != nil {
			return err
		}
		removed, err = vault.RetireAccountKeys(ctx, p.st, account, in.master, key)
		return r.retire(p, removed, err)
	})
}

// vaultInMaking refuses while a vault of the account may be in the making: it
// would be made with the key that is on its way out.
func (in *installation) vaultInMaking(ctx context.Context, a holdfast.Account) error {
	candidates, err := in.accountKeys(a)
	if err != nil {
		return err
	}
	_, _, whole, err := in.keyPlaces(ctx, a, candidates...)
	if err != nil || whole {
		return err
	}
	running, err := in.store.OperationOfAccount(ctx, a.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	g := holdfast.BusyGate(&running)
	g.Reason = "A vault of the account may be in the making. Wait until job " + string(running.ID) + " has ended."
	return g.Err()
}

// noMasterRotation refuses while the master key is being replaced.
func (in *installation) noMasterRotation(ctx context.Context) error {
	_, next, err := masterChecks(ctx, in.store)
	if err == nil && next != "" {
		err = holdfast.E(holdfast.CodeOperationInProgress, "The master key is being replaced. End that first: `holdfast key rotate-master --finish`.")
	}
	return err
}
