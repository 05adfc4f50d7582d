package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/vault"
	"holdfast/vault/check"
	"holdfast/vault/keys"
)

func vaultCommand() *cobra.Command {
	c := group("vault", "Look after the vaults")
	c.AddCommand(checkCommand(), repairCommand(), collectCommand())
	return c
}

func checkCommand() *cobra.Command {
	var account string
	var readData bool
	var sample share
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the vaults: their structure, or every byte",
		Long: `Check reads the vaults of a service's data directory while the service runs or
not, prints what it found as JSON, and ends with status 5 if anything is damaged.
Packs that it finds damaged are marked, so that no later backup relies on them;
"vault repair" puts back what they held.

The structure is every manifest, every tree and the place of every chunk. --sample
reads that share of the packs besides, others each time: a sample of 5% every day
finds a damaged pack within a month with a chance of 79%, within 90 days of 99%.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := check.Options{ReadData: readData, Sample: float64(sample), Mark: true}
			return onInstallation(cmd, func(in *installation) error { return in.checkVaults(cmd, account, o) })
		},
	}
	configFlags(c.Flags())
	c.Flags().StringVar(&account, "account", "", "one account's vault, by the account's id; all if not given")
	c.Flags().BoolVar(&readData, "read-data", false, "read and verify every byte")
	c.Flags().Var(&sample, "sample", "read and verify this share of the packs, as 5%")
	c.MarkFlagsMutuallyExclusive("read-data", "sample")
	return c
}

// share is a flag between 0% and 100%.
type share float64

// Set implements pflag.Value.
func (s *share) Set(text string) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !strings.HasSuffix(text, "%") || !(n >= 0 && n <= 100) {
		return fmt.Errorf("%q is no share between 0%% and 100%%", text)
	}
	*s = share(n / 100)
	return nil
}

// String implements pflag.Value.
func (s *share) String() string { return strconv.FormatFloat(float64(*s)*100, 'f', -1, 64) + "%" }

// Type implements pflag.Value.
func (s *share) Type() string { return "percent" }

// checkVaults checks one account's vault or all; every vault is checked though
// one before it is damaged.
func (in *installation) checkVaults(cmd *cobra.Command, account string, o check.Options) error {
	accounts, err := in.store.Accounts(cmd.Context())
	if err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	vs := &vaults{installation: in}
	found, damaged := false, false
	for _, a := range accounts {
		if account != "" && account != string(a.ID) {
			continue
		}
		found = true
		if !a.ShreddedAt.IsZero() {
			if err := printJSON(cmd.OutOrStdout(), map[string]any{"account": a.ID, "name": a.Name, "shreddedAt": a.ShreddedAt}); err != nil {
				return err
			}
			continue // nobody can read it
		}
		bar := newProgress(cmd.ErrOrStderr(), string(a.ID))
		o.Progress = func(done, total int64) { bar.tell("check", done, total) }
		report, err := vs.check(cmd.Context(), a.ID, o)
		if errors.Is(err, vault.ErrNoVault) {
			continue // no backup yet
		}
		out := map[string]any{"account": a.ID, "name": a.Name, "report": report}
		if closed(err) {
			out, err = map[string]any{"account": a.ID, "name": a.Name, "error": err.Error()}, nil
			report.OK = false
		}
		if err != nil {
			return fmt.Errorf("vault of %s: %w", a.ID, err)
		}
		damaged = damaged || !report.OK
		if err := printJSON(cmd.OutOrStdout(), out); err != nil {
			return err
		}
	}
	switch {
	case !found && account != "":
		return holdfast.E(holdfast.CodeNotFound, "There is no account "+account+".")
	case damaged:
		return holdfast.E(holdfast.CodeBackupDamaged, "A vault is damaged; the report names the backups. `vault repair` puts back what another place has.")
	}
	return nil
}

// closed: a vault is so damaged that it does not even open.
func closed(err error) bool {
	return err != nil && (vault.IsDamage(err) || errors.Is(err, vault.ErrFormat) || errors.Is(err, keys.ErrWrongKey))
}

func (v *vaults) check(ctx context.Context, account holdfast.AccountID, o check.Options) (check.Report, error) {
	expect, err := v.expected(ctx, account)
	if err != nil {
		return check.Report{}, err
	}
	if v.noVault(account) {
		return check.Report{}, vault.ErrNoVault
	}
	st, err := v.storage(account)
	if err != nil {
		return check.Report{}, err
	}
	opened, err := v.sound(ctx, account, st)
	if err != nil {
		return check.Report{}, err
	}
	o.Expect = expect
	return check.Run(ctx, opened, o)
}

// expected are the backups that the database says are complete.
func (in *installation) expected(ctx context.Context, account holdfast.AccountID) ([]string, error) {
	backups, err := in.store.BackupsOfAccount(ctx, account, holdfast.BackupCompleted)
	if err != nil {
		return nil, fmt.Errorf("backups of %s: %w", account, err)
	}
	ids := make([]string, 0, len(backups))
	for _, b := range backups {
		ids = append(ids, string(b.ID))
	}
	return ids, nil
}
