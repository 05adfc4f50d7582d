package main

import (
	"context"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
)

func rotateDataCommand() *cobra.Command {
	return keyAccountCommand("rotate-data", "Begin a new data key of an account: what is written from now on is sealed with it",
		`Rotate-data adds a data key to the account's key ring at every place of its vault.
Nothing is rewritten: what is there stays under the key that it was sealed with.
The service may run; a backup under way ends with the key it began with, and the
next one uses the new key. A rotation that was cut off is ended, not begun anew.`,
		func(cmd *cobra.Command, in *installation, id holdfast.AccountID) error {
			r, err := in.rotateData(cmd.Context(), id)
			if err != nil {
				return err
			}
			return r.print(cmd.OutOrStdout())
		})
}

func (in *installation) rotateData(ctx context.Context, id holdfast.AccountID) (rotation, error) {
	r := rotation{Account: id}
	key, err := in.accountKey(ctx, id)
	if err != nil {
		return r, err
	}
	a, err := in.account(ctx, id)
	if err != nil {
		return r, err
	}
	places, ring, _, err := in.keyPlaces(ctx, a, key)
	if err != nil {
		return r, err
	}
	if err := in.catchUp(ctx, id, strays(places), key, ring); err != nil {
		return r, err
	}
	if len(places) == 0 {
		return r, holdfast.E(holdfast.CodeNoBackups, "The account has no vault yet, and so no data key.")
	}
	r.Resumed = ring.Current() > max(a.RingEpoch, firstEpoch)
	for _, p := range places {
		r.Resumed = r.Resumed || p.ring.Current() < ring.Current()
	}
	if !r.Resumed {
		if ring, err = ring.Rotate(); err != nil {
			return r, err
		}
	}
	r.Epoch = ring.Current()
	if err := r.each(places, func(p keyPlace) error { return vault.PutRing(ctx, p.st, string(id), key, ring) }); err != nil {
		return r, err
	}
	// Only now may nobody write with an older one.
	err = in.store.Tx(ctx, func(tx *store.Tx) error { return tx.RaiseRingEpoch(ctx, id, ring.Current()) })
	if err != nil {
		return r, err
	}
	err = r.each(places, func(p keyPlace) error {
		removed, err := vault.RetireRings(ctx, p.st, string(id), key, ring)
		return r.retire(p, removed, err)
	})
	r.OldFinished = false
	if r.Resumed {
		r.Note = "A rotation that had been cut off, or that a place had missed, was ended. For one more new key, run this again."
		return r, err
	}
	r.Note = "What was written before stays under the older data keys, which stay in the ring. New backups use the new one."
	return r, err
}
