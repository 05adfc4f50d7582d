package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/store"
	"holdfast/vault"
	"holdfast/vault/blob"
)

// A collection whose backups came and went meanwhile is planned anew so often.
const collectRounds = 3

// collection is what `vault collect` does with one account's vault.
type collection struct {
	Account   holdfast.AccountID    `json:"account"`
	Name      string                `json:"name"`
	Plan      *vault.CollectionPlan `json:"plan"`
	Frees     int64                 `json:"frees"` // bytes
	Collected *vault.Collected      `json:"collected,omitempty"`
	Waiting   []string              `json:"waitingFor,omitempty"`
	Leftovers int                   `json:"leftoversRemoved,omitempty"` // of writers that died
}

func collectCommand() *cobra.Command {
	var account, place string
	var dry bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "collect",
		Short: "Free the space that no backup needs any more",
		Long: `Collect deletes from the vaults of a service's data directory what no backup
needs, while the service runs or not. It prints its plan and what it did as JSON.
A backup that was running when it began is waited for; if that takes longer than
--wait, the collection is gone on with the next time, and the status is 4.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return onInstallation(cmd, func(in *installation) error { return in.collectVaults(cmd, account, place, dry, wait) })
		},
	}
	configFlags(c.Flags())
	c.Flags().StringVar(&account, "account", "", "one account's vault, by the account's id; all if not given")
	c.Flags().StringVar(&place, "place", firstPlace, "the place, by its name in copies")
	c.Flags().BoolVar(&dry, "dry-run", false, "print the plan only")
	c.Flags().DurationVar(&wait, "wait", 10*time.Minute, "how long to wait for running backups; 0 for as long as it takes")
	return c
}

func (in *installation) collectVaults(cmd *cobra.Command, account, place string, dry bool, wait time.Duration) error {
	at, err := in.site(place)
	if err != nil {
		return err
	}
	accounts, err := in.store.Accounts(cmd.Context())
	if err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	found, waiting := false, false
	var failed error
	for _, a := range accounts {
		if account != "" && account != string(a.ID) {
			continue
		}
		found = true
		if !a.ShreddedAt.IsZero() {
			continue // nobody can tell what is needed
		}
		err := in.collectVault(cmd.Context(), a, at, dry, wait, func(c collection) error {
			waiting = waiting || len(c.Waiting) > 0
			return printJSON(cmd.OutOrStdout(), c)
		})
		if err != nil { // a damaged vault keeps no other from being collected
			failed = errors.Join(failed, fmt.Errorf("vault of %s: %w", a.ID, err))
		}
	}
	switch {
	case vault.IsDamage(failed):
		return errors.Join(holdfast.E(holdfast.CodeBackupDamaged, "A vault is damaged, so nothing was taken from it; `vault check` names the backups."), failed)
	case failed != nil:
		return failed
	case !found && account != "":
		return holdfast.E(holdfast.CodeNotFound, "There is no account "+account+".")
	case waiting:
		return holdfast.E(holdfast.CodeOperationInProgress, "A collection waits for a running backup; collect again later.")
	}
	return nil
}

func (in *installation) collectVault(ctx context.Context, a holdfast.Account, s *site, dry bool, wait time.Duration, tell func(collection) error) error {
	vs := &vaults{installation: in}
	if s.mounted() && s.none(a.ID) {
		return nil // no backup yet
	}
	st, err := s.storage(a.ID)
	if err != nil {
		return err
	}
	v, err := vs.unlock(ctx, a.ID, st, vs.indexCacheAt(a.ID, s))
	if errors.Is(err, vault.ErrNoVault) {
		return nil
	}
	if err != nil {
		return err
	}
	left := 0
	if !dry {
		if left, err = blob.Sweep(ctx, st); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	o := vault.CollectOptions{Wait: wait, Session: in.sessionState(ctx, a.ID, s.name)}
	for range collectRounds {
		p, err := v.PlanCollection(ctx, o)
		if err != nil {
			return err
		}
		c := collection{Account: a.ID, Name: a.Name, Plan: brief(p), Frees: p.Frees(), Leftovers: left}
		if dry || p.Empty() {
			return tell(c)
		}
		done, err := v.Collect(ctx, p, o)
		if older, ok := errors.AsType[*vault.WaitingError](err); ok {
			c.Waiting, err = older.Sessions, nil
		}
		c.Collected = &done
		if err := errors.Join(err, tell(c)); err != nil || !done.Again {
			return err
		}
	}
	return nil
}

// sessionState asks the operations: a session is named after the one it serves, or
// after the backup that is copied.
func (in *installation) sessionState(ctx context.Context, account holdfast.AccountID, place string) func(string) vault.SessionState {
	return func(session string) vault.SessionState {
		if backup, ok := strings.CutPrefix(session, "copy-"); ok {
			return in.copyState(ctx, account, backup, place)
		}
		id, err := holdfast.ParseID[holdfast.JobID]("job_" + strings.ToLower(session))
		if err != nil {
			return vault.SessionUnknown
		}
		op, err := in.store.Operation(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return vault.SessionUnknown // the database may be older than the vault
		case err != nil:
			return vault.SessionAlive // nothing is ended on a guess
		case op.Status == holdfast.OperationCompleted, op.Status == holdfast.OperationFailed:
			return vault.SessionDead
		}
		return vault.SessionAlive
	}
}

// copyState asks for the operation that copies a backup to a place. While none does,
// one may be queued any time: only what is complete or deleted is dead for certain.
func (in *installation) copyState(ctx context.Context, account holdfast.AccountID, backup, place string) vault.SessionState {
	backup, _, _ = strings.Cut(backup, ".")
	id, err := holdfast.ParseID[holdfast.BackupID]("bkp_" + strings.ToLower(backup))
	if err != nil {
		return vault.SessionUnknown
	}
	switch _, err := in.store.Upkeep(ctx, holdfast.KindCopy, account, id, place); {
	case err == nil, !errors.Is(err, store.ErrNotFound):
		return vault.SessionAlive
	}
	c, err := in.store.Copy(ctx, id, place)
	if err == nil && (c.State == holdfast.CopyComplete || c.State == holdfast.CopyDeleting) {
		return vault.SessionDead
	}
	return vault.SessionUnknown
}

// brief leaves out which chunks of a pack are kept: nobody reads that.
func brief(p *vault.CollectionPlan) *vault.CollectionPlan {
	short := *p
	short.Condemned = slices.Clone(p.Condemned)
	for i := range short.Condemned {
		short.Condemned[i].Keep = nil
	}
	return &short
}
