package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/control"
)

func (a *admin) backupCommands() []*cobra.Command {
	var in control.ListBackupsInput
	list := a.command("list", "List backups and where they lie", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.BackupInfo](cmd.Context(), a, "backup-list", in)
		if err != nil {
			return err
		}
		if a.json {
			return a.print(cmd.OutOrStdout(), out)
		}
		rows := []backupLine{}
		for _, b := range out {
			rows = append(rows, lineOf(b))
		}
		return a.print(cmd.OutOrStdout(), rows)
	})
	list.Flags().StringVar(&in.Account, "account", "", "account, by id or name")
	list.Flags().StringVar(&in.VPS, "vps", "", "VPS, by id")
	show := a.command("show BACKUP", "Show a backup, and each place that it lies at or is copied to", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		out, err := call[control.BackupInfo](cmd.Context(), a, "backup-show", control.BackupInput{Backup: args[0]})
		if err != nil {
			return err
		}
		if err := a.print(cmd.OutOrStdout(), out); err != nil || a.json || len(out.Copies) == 0 {
			return err
		}
		return a.print(cmd.OutOrStdout(), out.Copies)
	})
	return []*cobra.Command{list, show}
}

// backupLine is a backup in a table for people.
type backupLine struct {
	ID        string                `json:"id"`
	Account   string                `json:"account"`
	VPS       string                `json:"vps"`
	Status    holdfast.BackupStatus `json:"status"`
	CreatedAt *time.Time            `json:"createdAt"`
	SizeBytes int64                 `json:"sizeBytes"`
	Places    string                `json:"places"`
}

func lineOf(b control.BackupInfo) backupLine {
	places := []string{b.Site}
	if b.Status == holdfast.BackupDeleted {
		places = nil
	}
	for _, c := range b.Copies {
		places = append(places, c.Place+" ("+string(c.State)+")")
	}
	return backupLine{b.ID, b.Account, b.VPS, b.Status, b.CreatedAt, b.SizeBytes, strings.Join(places, ", ")}
}
