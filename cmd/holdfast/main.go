// Command holdfast is the whole product in one binary: the service, the
// operator's commands, and the ways to a disk without the service.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "holdfast: "+printable(userMessage(err)))
	}
	os.Exit(exitStatus(err))
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "holdfast",
		Args:          usage(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Short:         "Backup and recovery for virtual private servers",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misused(cmd, err.Error()) })
	c.AddCommand(serveCommand(), configCommand(), adminCommand(), keyCommand(), vaultCommand(), recoverCommand(), watchdogCommand())
	return c
}
