package main

import (
	"github.com/spf13/cobra"

	"holdfast/control"
)

// diskCommands change the disks of a VPS. Its backups, and the change tracking of
// the disks that are not named, go on.
func (a *admin) diskCommands() []*cobra.Command {
	return []*cobra.Command{
		a.disk("grow VPS DISK --bytes N", "Make a disk larger, also of a VPS that runs; partitions and file systems on it are the guest's", "vps-disk-grow", 2,
			func(args []string, bytes int64) any {
				return control.GrowDiskInput{VPS: args[0], Disk: args[1], SizeBytes: bytes}
			}),
		a.disk("add VPS --bytes N", "Add an empty disk to a stopped VPS, behind the others", "vps-disk-add", 1,
			func(args []string, bytes int64) any { return control.AddDiskInput{VPS: args[0], SizeBytes: bytes} }),
		a.disk("remove VPS DISK", "Remove a disk of a stopped VPS with all that is on it; backups that have it keep it", "vps-disk-remove", 2,
			func(args []string, _ int64) any { return control.RemoveDiskInput{VPS: args[0], Disk: args[1]} }),
	}
}

func (a *admin) disk(use, short, name string, args int, input func(args []string, bytes int64) any) *cobra.Command {
	var bytes int64
	var wait bool
	c := a.command(use, short, cobra.ExactArgs(args), func(cmd *cobra.Command, given []string) error {
		job, err := call[control.VPSJob](cmd.Context(), a, name, input(given, bytes))
		if err != nil {
			return err
		}
		return a.follow(cmd, job, wait)
	})
	if name != "vps-disk-remove" {
		c.Flags().Int64Var(&bytes, "bytes", 0, "size that the disk is to have")
	}
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is done")
	return c
}
