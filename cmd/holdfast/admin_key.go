package main

import (
	"strings"

	"github.com/spf13/cobra"

	"holdfast/control"
)

func (a *admin) keyCommands() []*cobra.Command {
	var account, name, scopes, expires string
	create := a.command("create --account ACCOUNT --scopes SCOPES", "Make an API key; its secret is shown once", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[control.NewKey](cmd.Context(), a, "key-create", control.CreateAPIKeyInput{
			Account: account, Name: name, Scopes: strings.FieldsFunc(scopes, func(r rune) bool { return r == ' ' || r == ',' }),
			ExpiresAt: changed(cmd, "expires", expires),
		})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	f := create.Flags()
	f.StringVar(&account, "account", "", "account, by id or name")
	f.StringVar(&name, "name", "key", "what it is for")
	f.StringVar(&scopes, "scopes", "", "scopes, separated by spaces or commas")
	f.StringVar(&expires, "expires", "", "when it ends, such as 2027-01-31T12:00:00Z; never, if not given")

	var of string
	list := a.command("list --account ACCOUNT", "List the API keys of an account, without secrets", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.KeyInfo](cmd.Context(), a, "key-list", control.AccountInput{Account: of})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	list.Flags().StringVar(&of, "account", "", "account, by id or name")

	var from string
	revoke := a.command("revoke KEY --account ACCOUNT", "End an API key at once", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		out, err := call[control.Done](cmd.Context(), a, "key-revoke", control.RevokeAPIKeyInput{Account: from, Key: args[0]})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	revoke.Flags().StringVar(&from, "account", "", "account, by id or name")
	return []*cobra.Command{create, list, revoke}
}

func (a *admin) operatorKeyCommands() []*cobra.Command {
	var name string
	create := a.command("create --name NAME", "Make an operator key; its secret is shown once", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[control.NewKey](cmd.Context(), a, "operator-key-create", control.CreateOperatorKeyInput{Name: name})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	create.Flags().StringVar(&name, "name", "operator", "who holds it")
	list := a.command("list", "List the operator keys, without secrets", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.KeyInfo](cmd.Context(), a, "operator-key-list", struct{}{})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	revoke := a.command("revoke KEY", "End an operator key at once", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		out, err := call[control.Done](cmd.Context(), a, "operator-key-revoke", control.KeyInput{Key: args[0]})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	return []*cobra.Command{create, list, revoke}
}
