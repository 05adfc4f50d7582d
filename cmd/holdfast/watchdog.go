package main

import (
	"os"

	"github.com/spf13/cobra"

	"holdfast/compute/qemu"
)

// watchdogCommand is not for people: the QEMU driver starts it before it stops
// freezes or throttles a guest, so that the guest runs on whatever happens to the service.
func watchdogCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "watchdog SOCKET DURATION AGENT | unthrottle SOCKET DISKS",
		Hidden: true,
		Args:   cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			return qemu.RunWatchdog(args, os.Stdin, os.Stdout)
		},
	}
}
