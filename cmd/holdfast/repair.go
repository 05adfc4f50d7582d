package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/keys"
	"holdfast/vault/repair"
)

// mending is what `vault repair` was asked for.
type mending struct {
	account string
	from    []string
	disks   []string // image=path
	quick   bool
	dry     bool

	s3 s3Config
}

func repairCommand() *cobra.Command {
	var m mending
	c := &cobra.Command{
		Use:   "repair --account ID [--from PLACE]... [--from-disk IMAGE=PATH]...",
		Short: "Put back what a vault has lost, from another place or a live disk",
		Long: `Repair checks every byte of an account's vault, and puts back what is lost: from
what of it is still healthy, from the account's vault at another place (its
directory, or s3:// URL), and from live disks, where they are still identical. A
disk is a raw image or a block device, and is given to all backups of that name.
It prints what it found, healed and could not heal as JSON, and ends with status 5
if something stays lost. It may be interrupted and repeated, while the service
runs or not. The next "vault collect" removes what is damaged.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return onInstallation(cmd, func(in *installation) error { return in.repairVault(cmd, m) })
		},
	}
	f := c.Flags()
	configFlags(f)
	f.StringVar(&m.account, "account", "", "the account's id")
	f.StringArrayVar(&m.from, "from", nil, "the account's vault at another place: a directory, or s3://bucket/prefix/account")
	f.StringArrayVar(&m.disks, "from-disk", nil, "a live disk, as disk0=/path")
	f.BoolVar(&m.quick, "quick", false, "trust the packs that nothing is known against, instead of reading them")
	f.BoolVar(&m.dry, "dry-run", false, "change nothing, and print what would be healed")
	s3Flags(f, &m.s3)
	return c
}

// mended is what `vault repair` prints.
type mended struct {
	Account holdfast.AccountID `json:"account"`
	Name    string             `json:"name"`
	// Entrance are the blobs by which a vault is opened that were put back.
	Entrance []string      `json:"entrance,omitempty"`
	Report   repair.Report `json:"report"`
}

func (in *installation) repairVault(cmd *cobra.Command, m mending) (err error) {
	ctx := cmd.Context()
	account := holdfast.AccountID(m.account)
	if m.account == "" {
		return holdfast.E(holdfast.CodeInvalidRequest, "Name the account by --account.")
	}
	a, err := in.store.Account(ctx, account)
	if err != nil {
		return holdfast.Wrap(holdfast.CodeNotFound, "repair", "There is no account "+m.account+".", err)
	}
	out := mended{Account: a.ID, Name: a.Name}
	bar := newProgress(cmd.ErrOrStderr(), m.account)
	o := repair.Options{Quick: m.quick, DryRun: m.dry, Progress: bar.tell}
	disks, done, err := m.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	o.Disks = disks
	if o.Expect, err = in.expected(ctx, account); err != nil {
		return err
	}
	vs := &vaults{installation: in}
	sources, err := m.sources(ctx, vs, account, &o)
	if err != nil {
		return err
	}
	v, healed, err := vs.enter(ctx, account, sources, m.dry)
	if err != nil {
		return err
	}
	out.Entrance = healed
	if out.Report, err = repair.Run(ctx, v, o); err != nil {
		return err
	}
	if err := printJSON(cmd.OutOrStdout(), out); err != nil {
		return err
	}
	if !out.Report.OK {
		return holdfast.E(holdfast.CodeBackupDamaged, "Something stays lost; the report names the backups. Name another place by --from, or a disk by --from-disk.")
	}
	return nil
}

// sources opens the account's vaults at the other places.
func (m mending) sources(ctx context.Context, vs *vaults, account holdfast.AccountID, o *repair.Options) (places []blob.Storage, err error) {
	for _, place := range m.from {
		st, err := openPlace(place, m.s3)
		if err != nil {
			return nil, err
		}
		v, err := vs.unlock(ctx, account, st)
		switch {
		case errors.Is(err, vault.ErrNoVault):
			return nil, holdfast.Wrap(holdfast.CodeNotFound, "repair", "There is no vault in "+place+".", err)
		case errors.Is(err, keys.ErrWrongKey):
			return nil, holdfast.Wrap(holdfast.CodeInvalidRequest, "repair", place+" is another account's vault, or its keys are damaged.", err)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		places = append(places, st)
		o.Sources = append(o.Sources, v)
	}
	return places, nil
}

// open opens the live disks: raw files or block devices, for reading.
func (m mending) open() (disks []repair.Disk, done func() error, err error) {
	var opened []*os.File
	done = func() error {
		var err error
		for _, f := range opened {
			err = errors.Join(err, f.Close())
		}
		return err
	}
	for _, given := range m.disks {
		name, path, ok := strings.Cut(given, "=")
		if !ok || name == "" || path == "" {
			return nil, done, errors.Join(holdfast.E(holdfast.CodeInvalidRequest, "A disk is given as disk0=/path: "+given), done())
		}
		f, err := os.Open(path) //nolint:gosec // the operator's own
		if err != nil {
			return nil, done, errors.Join(fmt.Errorf("disk %s: %w", name, err), done())
		}
		opened = append(opened, f)
		size, err := f.Seek(0, io.SeekEnd) // of a device too
		if err != nil {
			return nil, done, errors.Join(fmt.Errorf("disk %s: %w", name, err), done())
		}
		disks = append(disks, repair.Disk{Image: name, Size: size, Read: f})
	}
	return disks, done, nil
}

// enter opens the account's own vault, after putting back what it is opened by, if
// that is lost and another place has it.
func (v *vaults) enter(ctx context.Context, account holdfast.AccountID, sources []blob.Storage, dry bool) (*vault.Vault, []string, error) {
	if v.noVault(account) && len(sources) == 0 {
		return nil, nil, holdfast.E(holdfast.CodeNotFound, "The account has no vault.")
	}
	st, err := v.storage(account)
	if err != nil {
		return nil, nil, err
	}
	opened, err := v.sound(ctx, account, st)
	if err == nil || !closed(err) && !errors.Is(err, vault.ErrNoVault) {
		return opened, nil, err
	}
	if len(sources) == 0 || dry {
		return nil, nil, holdfast.Wrap(holdfast.CodeBackupDamaged, "repair", "The vault does not open: its keys or its description are lost. Name another place that has them by --from, without --dry-run.", err)
	}
	ring := func(ctx context.Context, st blob.Storage) (keys.Ring, error) { return v.ring(ctx, account, st) }
	healed, err := vault.HealEntrance(ctx, st, sources[0], ring)
	if err != nil {
		return nil, nil, err
	}
	opened, err = v.sound(ctx, account, st)
	return opened, healed, err
}
