package main

import (
	"github.com/spf13/cobra"

	"holdfast"
)

// adminCommand is the operator's command line: every command of
// control.Commands, over the data directory or over HTTP with an operator key.
func adminCommand() *cobra.Command {
	a := &admin{}
	c := &cobra.Command{
		Use:   "admin",
		Short: "The operator's commands",
		Args:  usage(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Long: `The operator's commands work on the data directory of a service on this machine
(--data), running or not, or on any service by its address (--url) with an
operator key in HOLDFAST_ADMIN_KEY.`,
		PersistentPreRunE:  func(cmd *cobra.Command, _ []string) error { return a.open(cmd) },
		PersistentPostRunE: func(*cobra.Command, []string) error { return a.close() },
	}
	f := c.PersistentFlags()
	configFlags(f)
	f.StringVar(&a.url, "url", "", "address of a service, instead of a data directory")
	f.BoolVar(&a.json, "json", false, "print JSON")
	c.AddCommand(
		group("account", "Accounts and the facts about them", a.accountCommands()...),
		group("key", "API keys of accounts", a.keyCommands()...),
		group("operator-key", "Keys for the operator's commands over HTTP", a.operatorKeyCommands()...),
		group("region", "Regions", a.regionCommands()...),
		group("host", "Hypervisor machines", a.hostCommands()...),
		group("image", "OS images that VPSs begin with", a.imageCommands()...),
		group("vps", "VPSs", a.vpsCommands()...),
		group("backup", "Backups, and the places they lie at", a.backupCommands()...),
		group("snapshot", "Snapshots", a.snapshotCommands()...),
	)
	return c
}

func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: name, Short: short, Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// command is a cobra command that calls one of control's.
func (a *admin) command(use, short string, args cobra.PositionalArgs, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: usage(args), RunE: run}
}

// usage makes of cobra's complaint about arguments one with the right exit
// status.
func usage(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return misused(cmd, err.Error())
		}
		return nil
	}
}

// misused is the refusal of a command line.
func misused(cmd *cobra.Command, what string) error {
	return holdfast.E(holdfast.CodeInvalidRequest, what+"; see `"+cmd.CommandPath()+" --help`")
}

// changed is a flag's value as an optional field: nil when it was not given.
func changed[T any](cmd *cobra.Command, name string, value T) *T {
	if !cmd.Flags().Changed(name) {
		return nil
	}
	return &value
}
