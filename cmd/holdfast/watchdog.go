package main

import (
	"os"

	"github.com/spf13/cobra"

	"holdfast/compute/qemu"
)

// watchdogCommand is not for people: the QEMU driver starts it before it stops
// a guest, so that the guest runs on whatever happens to the service.
func watchdogCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "watchdog SOCKET DURATION",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return qemu.RunWatchdog(args, os.Stdin, os.Stdout)
		},
	}
}
