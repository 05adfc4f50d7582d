package main

import (
	"github.com/spf13/cobra"

	"holdfast/control"
)

func (a *admin) snapshotCommands() []*cobra.Command {
	var in control.ListSnapshotsInput
	list := a.command("list", "List snapshots, and why one could not be deleted", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.SnapshotInfo](cmd.Context(), a, "snapshot-list", in)
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	list.Flags().StringVar(&in.Account, "account", "", "account, by id or name")
	list.Flags().StringVar(&in.VPS, "vps", "", "VPS, by id")
	return []*cobra.Command{list}
}
