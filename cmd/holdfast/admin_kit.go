package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/vault/keys"
)

// own finds the account of a command that needs the master key or the vaults, so
// works on the data directory only.
func (a *admin) own(account string) (holdfast.AccountID, error) {
	if a.direct == nil {
		return "", holdfast.E(holdfast.CodeInvalidRequest, "This works on the service's own machine: use --data.")
	}
	id, err := holdfast.ParseID[holdfast.AccountID](account)
	if err != nil {
		return "", holdfast.E(holdfast.CodeInvalidRequest, "Name the account by its id, such as `holdfast admin account list` shows.")
	}
	return id, nil
}

// kit prints the recovery kit, after recording that it was.
func (a *admin) kit(cmd *cobra.Command, account string) error {
	id, err := a.own(account)
	if err != nil {
		return err
	}
	key, err := a.direct.accountKey(cmd.Context(), id)
	if err != nil {
		return err
	}
	issued, err := a.direct.control.IssueKit(cmd.Context(), id, key.Fingerprint())
	if err != nil {
		return err
	}
	k := keys.Kit{Account: account, Key: key, Number: issued.Number, IssuedAt: issued.IssuedAt}
	for _, p := range a.direct.places(id) {
		k.Vaults = append(k.Vaults, p.name)
	}
	text, err := k.Text()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}

// issuedKit is a kit as `admin account kits` shows it: never its key.
type issuedKit struct {
	Number   int       `json:"number"`
	IssuedAt time.Time `json:"issuedAt"`
	Mark     string    `json:"mark"`
	InForce  bool      `json:"inForce"` // it holds the account's present key
}

func (a *admin) kitsCommand() *cobra.Command {
	return a.command("kits ACCOUNT", "List the recovery kits that were printed, without keys", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		id, err := a.own(args[0])
		if err != nil {
			return err
		}
		account, err := a.direct.store.Account(cmd.Context(), id)
		if err != nil {
			return holdfast.Wrap(holdfast.CodeNotFound, "kits", "There is no account "+string(id)+".", err)
		}
		issued, err := a.direct.store.Kits(cmd.Context(), id)
		if err != nil {
			return err
		}
		mark := ""
		if found, err := a.direct.accountKeys(account); err == nil { // none once it was destroyed
			mark = found[0].Fingerprint()
		}
		out := make([]issuedKit, 0, len(issued))
		for _, k := range issued {
			out = append(out, issuedKit{k.Number, k.IssuedAt, k.Fingerprint, k.Fingerprint == mark})
		}
		return a.print(cmd.OutOrStdout(), out)
	})
}
