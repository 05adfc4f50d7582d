package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/vault"
	"holdfast/vault/check"
	"holdfast/vault/keys"
)

func vaultCommand() *cobra.Command {
	c := group("vault", "Look after the vaults")
	var account string
	var readData bool
	verify := &cobra.Command{
		Use:   "check",
		Short: "Check the vaults: their structure, or every byte",
		Long: `Check reads the vaults of a service's data directory while the service runs or
not, prints what it found as JSON, and ends with status 5 if anything is damaged.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return onInstallation(cmd, func(in *installation) error { return in.checkVaults(cmd, account, check.Options{ReadData: readData}) })
		},
	}
	configFlags(verify.Flags())
	verify.Flags().StringVar(&account, "account", "", "one account's vault, by the account's id; all if not given")
	verify.Flags().BoolVar(&readData, "read-data", false, "read and verify every byte")
	c.AddCommand(verify, collectCommand())
	return c
}

// checkVaults checks one account's vault or all; every vault is checked though
// one before it is damaged.
func (in *installation) checkVaults(cmd *cobra.Command, account string, o check.Options) error {
	accounts, err := in.store.Accounts(cmd.Context())
	if err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	vs := &vaults{installation: in}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	found, damaged := false, false
	for _, a := range accounts {
		if account != "" && account != string(a.ID) {
			continue
		}
		found = true
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
		if err := enc.Encode(out); err != nil {
			return err
		}
	}
	switch {
	case !found && account != "":
		return holdfast.E(holdfast.CodeNotFound, "There is no account "+account+".")
	case damaged:
		return holdfast.E(holdfast.CodeBackupDamaged, "A vault is damaged; the report names the backups.")
	}
	return nil
}

// closed: a vault is so damaged that it does not even open.
func closed(err error) bool {
	return err != nil && (vault.IsDamage(err) || errors.Is(err, vault.ErrFormat) || errors.Is(err, keys.ErrWrongKey))
}

func (v *vaults) check(ctx context.Context, account holdfast.AccountID, o check.Options) (check.Report, error) {
	if v.noVault(account) {
		return check.Report{}, vault.ErrNoVault
	}
	st, err := v.storage(account)
	if err != nil {
		return check.Report{}, err
	}
	opened, err := v.unlock(ctx, account, st)
	if err != nil {
		return check.Report{}, err
	}
	return check.Run(ctx, opened, o)
}
