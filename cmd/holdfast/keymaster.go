package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/keys"
)

const (
	bothMasters = "Both master keys open everything now. Name the new one in the configuration, restart the service, and then run " +
		"`holdfast key rotate-master --finish`. Until then no account can be made."
	newMasterOnly = "The old master key is not needed any more. It still opens backups of the database, and copies of the vaults' keys/ blobs, " +
		"that were made before now: keep it as long as you keep those, or destroy them with it."
)

func rotateMasterCommand() *cobra.Command {
	var file string
	var command []string
	var finish bool
	c := &cobra.Command{
		Use:   "rotate-master --new-key FILE | --new-command PROGRAM [--new-command ARGUMENT …] | --finish",
		Short: "Replace the master key, which wraps the accounts' keys",
		Long: `Rotate-master wraps every account's key by a new master key too, in the database
and at every place of the vaults. The service may run, and goes on with the old
one. Then name the new key in the configuration, restart the service, and run it
with --finish, which removes the old wraps and says when the old key is not needed
any more. No data is rewritten. Cut off at any point, the same command goes on.
A new key is made by "holdfast key create-master".`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n := btoi(file != "") + btoi(len(command) > 0) + btoi(finish); n != 1 {
				return misused(cmd, "name the new key, by --new-key or --new-command, or --finish")
			}
			return onKeys(cmd, func(in *installation) error {
				r, err := in.rotateMaster(cmd.Context(), file, command, finish)
				if err != nil {
					return err
				}
				return r.print(cmd.OutOrStdout())
			})
		},
	}
	configFlags(c.Flags())
	c.Flags().StringVar(&file, "new-key", "", "file of the new master key")
	c.Flags().StringArrayVar(&command, "new-command", nil, "program that prints the new master key; again for each of its arguments")
	c.Flags().BoolVar(&finish, "finish", false, "the new key is configured: remove what the old one wrapped")
	return c
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (in *installation) rotateMaster(ctx context.Context, file string, command []string, finish bool) (rotation, error) {
	if finish {
		return in.finishMaster(ctx)
	}
	var fresh keys.MasterKey
	var err error
	if file != "" {
		fresh, err = keys.LoadMasterKey(file)
	} else {
		fresh, err = runMasterKey(ctx, command)
	}
	if err != nil {
		return rotation{}, holdfast.Wrap(holdfast.CodeInvalidRequest, "key", "The new master key cannot be had.", err)
	}
	return in.beginMaster(ctx, fresh)
}

// beginMaster wraps everything by the new key beside the old one.
func (in *installation) beginMaster(ctx context.Context, fresh keys.MasterKey) (rotation, error) {
	r := rotation{Places: []string{}}
	current, next, err := masterChecks(ctx, in.store)
	if err != nil {
		return r, err
	}
	accounts, err := in.store.Accounts(ctx)
	if err != nil {
		return r, fmt.Errorf("accounts: %w", err)
	}
	r.Resumed = next != ""
	switch {
	case fresh.Verify(current) == nil:
		return r, holdfast.E(holdfast.CodeInvalidRequest, "This is the master key in force already.")
	case next != "" && fresh.Verify(next) != nil:
		return r, holdfast.E(holdfast.CodeOperationInProgress, "A rotation to another master key is under way. End that first, with its key.")
	case in.master.Verify(current) != nil:
		return r, holdfast.E(holdfast.CodeInvalidRequest, "The configuration names the new master key already: run this with the old one, or with --finish.")
	}
	for _, a := range accounts {
		if next == "" && len(a.NextWrappedKey) > 0 {
			return r, holdfast.E(holdfast.CodeOperationInProgress, "The key of account "+string(a.ID)+" is being replaced. End that first: `holdfast key rotate-account --account "+string(a.ID)+"`.")
		}
	}
	if err := in.placesAnswer(ctx, accounts); err != nil {
		return r, err
	}
	// From here on no account is made under the old key.
	err = in.store.Tx(ctx, func(tx *store.Tx) error { return tx.PutMeta(ctx, store.MetaKeyNext, []byte(fresh.Check())) })
	if err != nil {
		return r, err
	}
	if accounts, err = in.store.Accounts(ctx); err != nil {
		return r, fmt.Errorf("accounts: %w", err)
	}
	for _, a := range accounts {
		if !a.ShreddedAt.IsZero() {
			continue
		}
		if err := in.wrapAnew(ctx, &r, a, fresh); err != nil {
			return r, fmt.Errorf("account %s: %w", a.ID, err)
		}
	}
	r.Note = bothMasters
	return r, nil
}

// wrapAnew wraps one account's key by the new master key: at its places first,
// so that the database says what is done.
func (in *installation) wrapAnew(ctx context.Context, r *rotation, a holdfast.Account, fresh keys.MasterKey) error {
	key, err := in.master.UnwrapAccount(string(a.ID), a.WrappedKey)
	if err != nil {
		// It was made by a process that has the new key already.
		if _, err := fresh.UnwrapAccount(string(a.ID), a.WrappedKey); err == nil {
			return nil
		}
		return err
	}
	if err := in.atMasterPlaces(ctx, r, a, fresh, key, false); err != nil {
		return err
	}
	r.Accounts++
	if have, err := fresh.UnwrapAccount(string(a.ID), a.NextWrappedKey); err == nil && have.Equal(key) {
		return nil
	}
	return in.store.Tx(ctx, func(tx *store.Tx) error {
		return tx.SetAccountKeys(ctx, a.ID, a.WrappedKey, fresh.WrapAccount(string(a.ID), key))
	})
}

// atMasterPlaces puts the account blob of a master key at every place of an
// account, or removes those of all others.
func (in *installation) atMasterPlaces(ctx context.Context, r *rotation, a holdfast.Account, master keys.MasterKey, key keys.AccountKey, retire bool) error {
	places, ring, _, err := in.keyPlaces(ctx, a, key)
	if err != nil {
		return err
	}
	if err := in.catchUp(ctx, a.ID, places, key, ring); err != nil {
		return err
	}
	for _, p := range places {
		err := vault.PutAccountKey(ctx, p.st, string(a.ID), master, key)
		if err == nil && retire {
			var removed []string
			removed, err = vault.RetireAccountKeys(ctx, p.st, string(a.ID), master, key)
			err = r.retire(p, removed, err)
		}
		if err != nil {
			return placeFailed(p.name, err)
		}
		r.Places = append(r.Places, p.name)
	}
	return nil
}

// finishMaster makes the new key the only one. What is in the database goes over
// in one transaction; the places follow, and the command may be repeated.
func (in *installation) finishMaster(ctx context.Context) (rotation, error) {
	r := rotation{Places: []string{}}
	if err := in.mayFinish(ctx); err != nil {
		return r, err
	}
	accounts, err := in.store.Accounts(ctx)
	if err != nil {
		return r, fmt.Errorf("accounts: %w", err)
	}
	if err := in.placesAnswer(ctx, accounts); err != nil {
		return r, err
	}
	check := []byte(in.master.Check())
	err = in.store.Tx(ctx, func(tx *store.Tx) error {
		accounts, err := tx.Accounts(ctx)
		if err != nil {
			return err
		}
		for _, a := range accounts {
			if !a.ShreddedAt.IsZero() {
				continue
			}
			wrapped := a.NextWrappedKey
			if _, err := in.master.UnwrapAccount(string(a.ID), a.WrappedKey); err == nil {
				wrapped = a.WrappedKey
			}
			if _, err := in.master.UnwrapAccount(string(a.ID), wrapped); err != nil {
				return holdfast.E(holdfast.CodeOperationInProgress, "Account "+string(a.ID)+" is not wrapped by the new master key yet: run this with the old one configured, and name the new one by --new-key or --new-command.")
			}
			if err := tx.SetAccountKeys(ctx, a.ID, wrapped, nil); err != nil {
				return err
			}
		}
		return errors.Join(tx.PutMeta(ctx, store.MetaKeyCheck, check), tx.PutMeta(ctx, store.MetaKeyNext, []byte{}))
	})
	if err != nil {
		return r, err
	}
	if accounts, err = in.store.Accounts(ctx); err != nil {
		return r, fmt.Errorf("accounts: %w", err)
	}
	for _, a := range accounts {
		if !a.ShreddedAt.IsZero() {
			continue
		}
		key, err := in.accountKey(ctx, a.ID)
		if err != nil {
			return r, err
		}
		if err := in.atMasterPlaces(ctx, &r, a, in.master, key, true); err != nil {
			return r, fmt.Errorf("account %s: %w", a.ID, err)
		}
		r.Accounts++
	}
	r.OldFinished, r.Note = true, newMasterOnly
	_, err = in.store.Scrub(ctx)
	return r, err
}

// placesAnswer refuses to begin what could not be ended now: every account's keys
// can be read at every place.
func (in *installation) placesAnswer(ctx context.Context, accounts []holdfast.Account) error {
	for _, a := range accounts {
		candidates, err := in.accountKeys(a)
		if err != nil {
			continue // it is shredded, or the caller says what is wrong with it
		}
		if _, _, _, err := in.keyPlaces(ctx, a, candidates...); err != nil {
			return fmt.Errorf("account %s: %w", a.ID, err)
		}
	}
	return nil
}

// mayFinish refuses while somebody still needs the old key.
func (in *installation) mayFinish(ctx context.Context) error {
	current, next, err := masterChecks(ctx, in.store)
	if err != nil {
		return err
	}
	if next != "" && in.master.Verify(next) != nil {
		return holdfast.E(holdfast.CodeInvalidRequest, "The configuration still names the old master key. Name the new one, restart the service, and run this again.")
	}
	if next == "" && in.master.Verify(current) != nil {
		return holdfast.E(holdfast.CodeInvalidRequest, "No rotation of the master key is under way.")
	}
	// Of several services on one database each has to have the new key.
	_, all, err := in.store.Services(ctx, in.master.Check())
	if err != nil {
		return err
	}
	running, err := in.serving(ctx)
	if err != nil || !running {
		return err
	}
	begun, err := in.store.Meta(ctx, store.MetaKeyServe)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if !all || in.master.Verify(string(begun)) != nil {
		return holdfast.E(holdfast.CodeOperationInProgress, "The service still runs with the old master key. Restart it, and run this again.")
	}
	return nil
}
