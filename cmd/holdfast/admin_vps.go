package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/control"
)

func (a *admin) vpsCommands() []*cobra.Command {
	var of string
	list := a.command("list", "List the VPSs of all accounts, or of one", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.VPSInfo](cmd.Context(), a, "vps-list", control.ListVPSInput{Account: of})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	list.Flags().StringVar(&of, "account", "", "account, by id or name")
	var force bool
	var grace int
	stop := a.vpsJob("stop VPS", "Stop a VPS: it is asked to power off, and ended by force when that takes too long", "vps-stop", func(cmd *cobra.Command, vps string) any {
		return control.StopVPSInput{VPS: vps, Force: force, GraceSeconds: changed(cmd, "grace", grace)}
	})
	stop.Flags().BoolVar(&force, "force", false, "by force at once")
	stop.Flags().IntVar(&grace, "grace", 60, "seconds that the guest has to power off")
	named := func(_ *cobra.Command, vps string) any { return control.VPSInput{VPS: vps} }
	return []*cobra.Command{
		a.createVPS(), list, stop,
		a.vpsJob("start VPS", "Start a VPS", "vps-start", named),
		a.vpsJob("delete VPS", "End a VPS and its disks; its backups stay", "vps-delete", named),
		group("disk", "Change which disks a VPS has", a.diskCommands()...),
	}
}

func (a *admin) createVPS() *cobra.Command {
	var in control.CreateVPSInput
	var region string
	var disk int64
	var start, wait bool
	c := a.command("create --account ACCOUNT --image IMAGE --name NAME", "Make a VPS from an image", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		in.Region, in.DiskBytes, in.Start = changed(cmd, "region", region), changed(cmd, "first-disk-bytes", disk), &start
		job, err := call[control.VPSJob](cmd.Context(), a, "vps-create", in)
		if err != nil {
			return err
		}
		return a.follow(cmd, job, wait)
	})
	f := c.Flags()
	f.StringVar(&in.Account, "account", "", "account, by id or name")
	f.StringVar(&in.Image, "image", "", "OS image, by name")
	f.StringVar(&in.Name, "name", "", "host name")
	f.StringVar(&region, "region", "", "region; the default one if not given")
	f.IntVar(&in.CPUCores, "cpu-cores", 1, "CPU cores")
	f.IntVar(&in.MemoryMiB, "memory-mib", 1024, "memory, MiB")
	f.Int64Var(&disk, "first-disk-bytes", 0, "size of the first disk; the image's if not given")
	f.Int64SliceVar(&in.ExtraDisks, "disk-bytes", nil, "size of a further, empty disk; can be repeated")
	f.IntSliceVar(&in.Forward, "forward", nil, "port of the guest to forward; can be repeated")
	f.BoolVar(&start, "start", false, "start it")
	f.BoolVar(&wait, "wait", false, "wait until it is done")
	return c
}

// vpsJob is a command that starts an operation on a VPS.
func (a *admin) vpsJob(use, short, name string, input func(cmd *cobra.Command, vps string) any) *cobra.Command {
	var wait bool
	c := a.command(use, short, cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		job, err := call[control.VPSJob](cmd.Context(), a, name, input(cmd, args[0]))
		if err != nil {
			return err
		}
		return a.follow(cmd, job, wait)
	})
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is done")
	return c
}

// followed is what a command prints that started an operation.
type followed struct {
	ID     string                   `json:"id"` // of the VPS
	JobID  string                   `json:"jobId"`
	Status holdfast.OperationStatus `json:"status"`
}

// follow prints the operation, once it has ended if wait says so.
func (a *admin) follow(cmd *cobra.Command, job control.VPSJob, wait bool) error {
	out := followed{ID: job.VPS, JobID: job.JobID, Status: holdfast.OperationQueued}
	if wait {
		if err := a.await(cmd.Context(), cmd.ErrOrStderr(), job.JobID); err != nil {
			return err
		}
		out.Status = holdfast.OperationCompleted
	}
	return a.print(cmd.OutOrStdout(), out)
}

// await polls an operation: it may run in another process, on another machine.
func (a *admin) await(ctx context.Context, w io.Writer, job string) error {
	const patience = 10 * time.Second // until "is a service running?" is worth saying
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	asked := time.Now()
	for said := false; ; {
		info, err := call[control.JobInfo](ctx, a, "job-get", control.JobInput{JobID: job})
		switch {
		case err != nil:
			return err
		case info.Status == holdfast.OperationCompleted:
			return nil
		case info.Status == holdfast.OperationFailed && info.Failure != nil:
			return holdfast.E(info.Failure.Code, info.Failure.Message)
		case info.Status == holdfast.OperationFailed:
			return holdfast.E(holdfast.CodeInternal, "The operation failed.")
		case info.Status == holdfast.OperationQueued && !said && time.Since(asked) > patience:
			said = true
			if _, err := fmt.Fprintln(w, "still queued: is the service running? (`holdfast serve`)"); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("no longer waiting; job %s goes on: %w", job, ctx.Err())
		}
	}
}
