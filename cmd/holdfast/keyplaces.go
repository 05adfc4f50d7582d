package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"holdfast"
	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// keyPlace is a place where a vault of an account is, and the ring it has there.
type keyPlace struct {
	name  string
	st    blob.Storage
	ring  keys.Ring
	stray bool // it missed a rotation of the account's key: an older one opens its ring
}

// keyPlaces opens all places of an account that hold a vault, and finds its newest
// ring: that of the highest epoch, from which no place may differ but by being
// behind. whole is false when some place has no vault yet. A place that cannot be
// read, or should have a vault and shows none, is an error: whoever goes on without
// it could lose the last key that opens it.
func (in *installation) keyPlaces(ctx context.Context, a holdfast.Account, candidates ...keys.AccountKey) (found []keyPlace, newest keys.Ring, whole bool, err error) {
	whole = true
	for _, p := range in.places(a.ID) {
		k, err := in.keyPlace(ctx, a, p, candidates)
		if errors.Is(err, vault.ErrNoVault) {
			whole = false
			continue
		}
		if err != nil {
			return nil, newest, false, placeFailed(p.name, err)
		}
		found = append(found, k)
		// Who has stolen an older key of the account can make a ring under it.
		if !k.stray && (newest.IsZero() || k.ring.Current() > newest.Current()) {
			newest = k.ring
		}
	}
	for _, p := range found {
		if newest.IsZero() {
			return nil, newest, false, placeFailed(p.name, keys.ErrWrongKey)
		}
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

// keyPlace reads the ring of one place: with the account's keys, or with the one
// that the master key finds there. No vault is vault.ErrNoVault.
func (in *installation) keyPlace(ctx context.Context, a holdfast.Account, p place, candidates []keys.AccountKey) (keyPlace, error) {
	k := keyPlace{name: p.name}
	if p.none() {
		backups, err := in.store.HasBackups(ctx, a.ID)
		if err == nil {
			err = in.unmissed(ctx, a.ID, p, backups)
		}
		return k, cmp.Or(err, vault.ErrNoVault)
	}
	var err error
	if k.st, err = p.open(); err != nil {
		return k, err
	}
	k.ring, _, err = vault.ReadRing(ctx, k.st, string(a.ID), candidates...)
	if !errors.Is(err, keys.ErrWrongKey) {
		return k, err
	}
	owner, _, ring, uerr := vault.Unlock(ctx, k.st, in.master)
	if uerr != nil || owner != string(a.ID) {
		return k, err
	}
	k.ring, k.stray = ring, true
	return k, nil
}

// unmissed refuses to take a directory that is not there for one without a vault,
// when backups are known to lie in it: its disk may not be mounted. backups says
// whether the account has any at the first place.
func (in *installation) unmissed(ctx context.Context, account holdfast.AccountID, p place, backups bool) error {
	if !p.site.first {
		copies, err := in.store.AllCopies(ctx, account)
		if err != nil {
			return err
		}
		backups = slices.ContainsFunc(copies, func(c holdfast.BackupCopy) bool {
			return c.Place == p.site.name && c.State == holdfast.CopyComplete
		})
	}
	if !backups {
		return nil
	}
	return holdfast.E(holdfast.CodeUpstreamUnavailable, p.name+" is not there, though it should hold backups of the account. If its disk is not mounted, mount it; if it is lost for good, make it as an empty directory. Then run the same command again.")
}

// placeFailed names the place that kept a command from what it does to keys.
func placeFailed(name string, err error) error {
	if _, done := errors.AsType[*holdfast.Error](err); done {
		return err
	}
	if closed(err) {
		return holdfast.Wrap(holdfast.CodeBackupDamaged, "key", "The keys at "+name+" are damaged, or open with no key of the account, so nothing was done with keys. If another place has what this one holds, remove its directory, and it is copied anew.", err)
	}
	return holdfast.Wrap(holdfast.CodeUpstreamUnavailable, "key", name+" fails or does not answer. No key was given up: run the same command again when it does.", err)
}

// catchUp brings what missed a rotation to the account's present key and ring.
func (in *installation) catchUp(ctx context.Context, account holdfast.AccountID, places []keyPlace, key keys.AccountKey, newest keys.Ring) error {
	for _, p := range places {
		if !p.stray && p.ring.Current() == newest.Current() {
			continue
		}
		err := vault.PutRing(ctx, p.st, string(account), key, newest)
		if err == nil {
			err = vault.PutAccountKey(ctx, p.st, string(account), in.master, key)
		}
		if err == nil {
			_, err = vault.RetireRings(ctx, p.st, string(account), key, newest)
		}
		if err != nil {
			return placeFailed(p.name, err)
		}
	}
	return nil
}

// each calls do for every place, and says in r which it was done at.
func (r *rotation) each(places []keyPlace, do func(p keyPlace) error) error {
	r.Places = []string{}
	for _, p := range places {
		if err := do(p); err != nil {
			return placeFailed(p.name, err)
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

// strays are the places that missed a rotation of the account's key.
func strays(places []keyPlace) []keyPlace {
	return slices.DeleteFunc(slices.Clone(places), func(p keyPlace) bool { return !p.stray })
}
