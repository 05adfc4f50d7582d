package main

import (
	"github.com/spf13/cobra"

	"holdfast/control"
)

func (a *admin) regionCommands() []*cobra.Command {
	var in control.RegionInfo
	create := a.command("create REGION", "Make or change a region", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		in.ID = args[0]
		out, err := call[control.RegionInfo](cmd.Context(), a, "region-create", in)
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	create.Flags().StringVar(&in.Name, "name", "", "name for people")
	create.Flags().BoolVar(&in.Default, "default", false, "Cloud VMs go here when no region is named")
	list := a.command("list", "List the regions", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.RegionInfo](cmd.Context(), a, "region-list", struct{}{})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	return []*cobra.Command{create, list}
}

func (a *admin) hostCommands() []*cobra.Command {
	list := a.command("list", "List the hosts", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.HostInfo](cmd.Context(), a, "host-list", struct{}{})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	return []*cobra.Command{
		a.enableHost("enable HOST", "Let a host take work", true),
		a.enableHost("disable HOST", "Keep a host from taking work", false),
		list,
	}
}

func (a *admin) enableHost(use, short string, enabled bool) *cobra.Command {
	return a.command(use, short, cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		out, err := call[control.HostInfo](cmd.Context(), a, "host-enable", control.EnableHostInput{Host: args[0], Enabled: enabled})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
}
