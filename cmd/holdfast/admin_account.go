package main

import (
	"github.com/spf13/cobra"

	"holdfast/control"
)

func (a *admin) accountCommands() []*cobra.Command {
	var name string
	var facts accountFacts
	create := a.command("create --name NAME", "Make an account", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		made, err := call[control.AccountInfo](cmd.Context(), a, "account-create", control.CreateAccountInput{Name: name})
		if err != nil {
			return err
		}
		return a.setFacts(cmd, made.ID, &facts)
	})
	create.Flags().StringVar(&name, "name", "", "name, unique")
	facts.flags(create)

	var change accountFacts
	set := a.command("set ACCOUNT", "Set facts about an account", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		return a.setFacts(cmd, args[0], &change)
	})
	change.flags(set)

	list := a.command("list", "List the accounts", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		out, err := call[[]control.AccountInfo](cmd.Context(), a, "account-list", struct{}{})
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), out)
	})
	kit := a.command("kit ACCOUNT", "Print the recovery kit of an account: whoever holds it reads every backup", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error { return a.kit(cmd, args[0]) })
	return append([]*cobra.Command{create, set, list, kit, a.kitsCommand()}, a.shredCommands()...)
}

// accountFacts are the flags of what an operator sets of an account.
type accountFacts struct {
	active, verified, card, cloud, unpaid       bool
	slots, cores, memoryGb, storageGb, machines int
}

func (f *accountFacts) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.active, "active", true, "the account may use the API")
	fs.BoolVar(&f.verified, "verified", false, "the customer is verified")
	fs.BoolVar(&f.card, "card-on-file", false, "there is a card on file")
	fs.BoolVar(&f.cloud, "cloud-access", false, "the account may use Cloud VMs")
	fs.BoolVar(&f.unpaid, "unpaid-invoice", false, "an invoice is unpaid")
	fs.IntVar(&f.slots, "backup-slots", 0, "backups each VPS may have; negative: no limit")
	fs.IntVar(&f.cores, "limit-cpu-cores", 0, "CPU cores of all Cloud VMs together")
	fs.IntVar(&f.memoryGb, "limit-memory-gb", 0, "memory of all Cloud VMs together, GiB")
	fs.IntVar(&f.storageGb, "limit-storage-gb", 0, "storage of all Cloud VMs together, GiB")
	fs.IntVar(&f.machines, "limit-instances", 0, "number of Cloud VMs")
}

func (a *admin) setFacts(cmd *cobra.Command, account string, f *accountFacts) error {
	out, err := call[control.AccountInfo](cmd.Context(), a, "account-set", control.SetAccountInput{
		Account: account, Active: changed(cmd, "active", f.active), Verified: changed(cmd, "verified", f.verified),
		CardOnFile: changed(cmd, "card-on-file", f.card), CloudAccess: changed(cmd, "cloud-access", f.cloud),
		UnpaidInvoice: changed(cmd, "unpaid-invoice", f.unpaid), BackupSlots: changed(cmd, "backup-slots", f.slots),
		Limits: &control.LimitsPatch{
			CPUCores: changed(cmd, "limit-cpu-cores", f.cores), MemoryGb: changed(cmd, "limit-memory-gb", f.memoryGb),
			StorageGb: changed(cmd, "limit-storage-gb", f.storageGb), Instances: changed(cmd, "limit-instances", f.machines),
		},
	})
	if err != nil {
		return err
	}
	return a.print(cmd.OutOrStdout(), out)
}
