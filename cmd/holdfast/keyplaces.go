package main

import (
	"context"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// keyPlace is a place where a vault of an account is, and the ring it has there.
type keyPlace struct {
	name string
	st   blob.Storage
	ring keys.Ring
}

// keyPlaces opens all places of an account that hold a vault, and finds its newest
// ring: that of the highest epoch, from which no place may differ but by being
// behind. whole is false when some place has no vault yet.
func (in *installation) keyPlaces(ctx context.Context, a holdfast.Account, candidates ...keys.AccountKey) (found []keyPlace, newest keys.Ring, whole bool, err error) {
	whole = true
	for _, p := range in.places(a.ID) {
		if p.none() {
			whole = false
			continue
		}
		st, err := p.open()
		if err != nil {
			return nil, newest, false, err
		}
		ring, _, err := vault.ReadRing(ctx, st, string(a.ID), candidates...)
		if errors.Is(err, vault.ErrNoVault) {
			whole = false
			continue
		}
		if err != nil {
			return nil, newest, false, fmt.Errorf("%s: %w", p.name, err)
		}
		found = append(found, keyPlace{p.name, st, ring})
		if newest.IsZero() || ring.Current() > newest.Current() {
			newest = ring
		}
	}
	for _, p := range found {
		if !newest.Extends(p.ring) {
			return nil, newest, false, holdfast.E(holdfast.CodeBackupDamaged, p.name+" holds another key ring than the other places of the account; nothing was changed.")
		}
	}
	if len(found) > 0 && newest.Current() < a.RingEpoch {
		return nil, newest, false, holdfast.Wrap(holdfast.CodeBackupDamaged, "key",
			fmt.Sprintf("The newest key ring that the places show is of epoch %d, and the account had reached %d. It was lost, or an old one was put back; nothing was changed.", newest.Current(), a.RingEpoch), vault.ErrStaleRing)
	}
	return found, newest, whole, nil
}

// each calls do for every place, and says in r which it was done at.
func (r *rotation) each(places []keyPlace, do func(p keyPlace) error) error {
	r.Places = []string{}
	for _, p := range places {
		if err := do(p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		r.Places = append(r.Places, p.name)
	}
	return nil
}

// retire removes the older key blobs of a place.
func (r *rotation) retire(p keyPlace, removed []string, err error) error {
	for _, name := range removed {
		r.Removed = append(r.Removed, p.name+"/"+name)
	}
	return err
}
