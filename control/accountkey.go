package control

import (
	"context"
	"errors"
	"time"

	"holdfast"
	"holdfast/store"
)

// keyInForce refuses what would wrap an account's key with a master key that is
// on its way out: nobody would wrap it again.
func (c *Control) keyInForce(ctx context.Context, q *store.Queries) error {
	if c.options.KeyCheck == "" {
		return nil
	}
	for _, name := range []string{store.MetaKeyNext, store.MetaKeyCheck} {
		check, err := q.Meta(ctx, name)
		if errors.Is(err, store.ErrNotFound) || err == nil && len(check) == 0 {
			continue
		}
		if err == nil && string(check) != c.options.KeyCheck {
			return holdfast.E(holdfast.CodeOperationInProgress, "The master key is being replaced. Restart the service with the new one, and try again.")
		}
		return err
	}
	return nil
}

// IssueKit records that a recovery kit is about to be printed, before anybody
// sees it.
func (c *Control) IssueKit(ctx context.Context, account holdfast.AccountID, fingerprint string) (holdfast.KitIssue, error) {
	k := holdfast.KitIssue{Fingerprint: fingerprint}
	err := c.write(ctx, "control.IssueKit", func(tx *store.Tx) error {
		if _, err := unshredded(ctx, tx.Queries(), account); err != nil {
			return err
		}
		issued, err := tx.Kits(ctx, account)
		if err != nil {
			return err
		}
		k.Number = len(issued) + 1
		if k.IssuedAt, err = tx.Now(ctx); err != nil {
			return err
		}
		return tx.InsertKit(ctx, account, k)
	})
	return k, err
}

// ShredAccount destroys an account's key in the database, makes its backups
// deleted ones, and writes the certificate that document makes of it, all in one
// transaction. It is refused while an operation of the account has not ended. Done
// already, it changes nothing.
func (c *Control) ShredAccount(ctx context.Context, account holdfast.AccountID, document func(at time.Time, backups int) ([]byte, error)) error {
	return c.urgent(ctx, "control.ShredAccount", func(tx *store.Tx) error {
		a, err := tx.Account(ctx, account)
		if err != nil || !a.ShreddedAt.IsZero() {
			return missing(err, holdfast.CodeNotFound, "There is no account "+string(account)+".")
		}
		running, err := tx.OperationOfAccount(ctx, account)
		if err == nil {
			g := holdfast.BusyGate(&running)
			g.Reason = "An operation of the account is running. Wait until job " + string(running.ID) + " has ended."
			return g.Err()
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		backups, err := tx.ShredAccount(ctx, account, now)
		if err != nil {
			return err
		}
		written, err := document(now, backups)
		if err != nil {
			return err
		}
		return tx.PutCertificate(ctx, account, written)
	})
}

// unshredded reads an account that has a key.
func unshredded(ctx context.Context, q *store.Queries, account holdfast.AccountID) (holdfast.Account, error) {
	a, err := q.Account(ctx, account)
	if err != nil {
		return a, missing(err, holdfast.CodeNotFound, "There is no account "+string(account)+".")
	}
	return a, holdfast.ShreddedGate(a).Err()
}
