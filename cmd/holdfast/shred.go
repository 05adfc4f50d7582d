package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
)

func (a *admin) shredCommands() []*cobra.Command {
	var confirm string
	shred := a.command("shred ACCOUNT --confirm ACCOUNT", "Destroy the keys of an account: all its backups are lost for ever", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			id, err := a.own(args[0])
			if err != nil {
				return err
			}
			if confirm != args[0] {
				return holdfast.E(holdfast.CodeInvalidRequest, "Nothing was done. All backups of the account would be lost for ever: if that is meant, add --confirm with the account's id.")
			}
			c, err := a.direct.shred(cmd.Context(), id)
			if c.Account == "" {
				return err
			}
			return errors.Join(a.printCertificate(cmd.OutOrStdout(), c), err)
		})
	shred.Long = `Shred destroys the key of an account in the database and its keys/ blobs at every
place of its vault: what is sealed there can be read by nobody any more. It prints
a certificate of what was removed and of what may still open the data. It is
refused while an operation of the account runs. The service may run. If a place
does not answer, the same command goes on later.`
	shred.Flags().StringVar(&confirm, "confirm", "", "the account's id, again")
	show := a.command("certificate ACCOUNT", "Print again what was certified when the account's keys were destroyed", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			id, err := a.own(args[0])
			if err != nil {
				return err
			}
			c, err := a.direct.certificate(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.printCertificate(cmd.OutOrStdout(), c)
		})
	return []*cobra.Command{shred, show}
}

// shred destroys an account's keys: in the database first, from where no writer
// can bring them back, then at every place. What is done already is done again,
// for somebody may have put keys back.
func (in *installation) shred(ctx context.Context, id holdfast.AccountID) (certificate, error) {
	lock, err := in.lockKeys()
	if err != nil {
		return certificate{}, err
	}
	defer func() { _ = lock.Close() }() // it goes with the process anyway
	if err := in.shredDatabase(ctx, id); err != nil {
		return certificate{}, err
	}
	c, err := in.certificate(ctx, id)
	if err != nil {
		return c, err
	}
	// Copies of the index tell what lay where, though not what.
	failed := os.RemoveAll(filepath.Join(in.config.Data, "cache", "index", string(id)))
	switch certain, err := in.store.Scrub(ctx); {
	case err != nil:
		failed = errors.Join(failed, err)
	case certain:
		c.Database.OverwrittenAt = now()
	}
	for _, p := range in.places(id) {
		if err := c.removed(p.name, in.dropKeys(ctx, id, p, c.Backups > 0)); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	failed = errors.Join(failed, c.forgotten(in.places(id)))
	if failed == nil {
		c.CompletedAt = now()
	}
	if err := in.remaining(ctx, &c); err != nil {
		return c, err
	}
	document, err := json.Marshal(c)
	if err != nil {
		return c, err
	}
	err = in.store.TxUrgent(ctx, func(tx *store.Tx) error { return tx.PutCertificate(ctx, id, document) })
	if err == nil && failed != nil {
		err = holdfast.Wrap(holdfast.CodeUpstreamUnavailable, "shred", "The keys are not gone everywhere yet; run the same command again.", failed)
	}
	return c, err
}

func (in *installation) shredDatabase(ctx context.Context, id holdfast.AccountID) error {
	a, err := in.store.Account(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return holdfast.E(holdfast.CodeNotFound, "There is no account "+string(id)+".")
	}
	if err != nil || !a.ShreddedAt.IsZero() {
		return err
	}
	c := certificate{Account: id, Name: a.Name, Database: databaseShred{File: in.config.Database}, Places: []placeShred{}}
	for _, p := range in.places(id) { // whatever dies, it names what is to be done
		c.Places = append(c.Places, placeShred{Place: p.name})
	}
	if found, err := in.accountKeys(a); err == nil { // a key that does not open is destroyed as well
		c.Mark = found[0].Fingerprint()
	}
	return in.control.ShredAccount(ctx, id, func(at time.Time, backups int) ([]byte, error) {
		c.ShreddedAt, c.Backups = at, backups
		return json.Marshal(c)
	})
}

// dropKeys removes the keys of one place.
func (in *installation) dropKeys(ctx context.Context, id holdfast.AccountID, p place, backups bool) func() (int, error) {
	return func() (int, error) {
		if p.none() {
			return 0, in.unmissed(ctx, id, p, backups)
		}
		st, err := p.open()
		if err != nil {
			return 0, err
		}
		return vault.DropKeys(ctx, st)
	}
}

// certificate reads what was certified.
func (in *installation) certificate(ctx context.Context, id holdfast.AccountID) (certificate, error) {
	var c certificate
	document, err := in.store.Certificate(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return c, holdfast.E(holdfast.CodeNotFound, "There is no certificate: the keys of account "+string(id)+" were not destroyed.")
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(document, &c); err != nil {
		return c, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

// removed notes what became of the keys at one place.
func (c *certificate) removed(name string, drop func() (int, error)) error {
	at := slices.IndexFunc(c.Places, func(p placeShred) bool { return p.Place == name })
	if at < 0 {
		at = len(c.Places)
		c.Places = append(c.Places, placeShred{Place: name})
	}
	p := &c.Places[at]
	n, err := drop()
	p.Removed += n
	if p.Error = ""; err != nil {
		p.Error, p.At = err.Error(), nil
		return fmt.Errorf("%s: %w", name, err)
	}
	p.At = now()
	return nil
}

// forgotten notes the places that were named before and are not configured any
// more: of those whose keys were not removed, nobody has seen that they are gone.
func (c *certificate) forgotten(configured []place) (failed error) {
	for i := range c.Places {
		p := &c.Places[i]
		if p.At == nil && !slices.ContainsFunc(configured, func(o place) bool { return o.name == p.Place }) {
			p.Error = "it is not in the configuration any more"
			failed = errors.Join(failed, fmt.Errorf("%s: %s", p.Place, p.Error))
		}
	}
	return failed
}

func now() *time.Time {
	t := time.Now().UTC().Truncate(time.Second)
	return &t
}
