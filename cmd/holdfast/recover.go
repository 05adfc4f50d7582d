package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/disk/file"
	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/local"
	"holdfast/vault/keys"
)

// recovery is what `holdfast recover` was asked for.
type recovery struct {
	vault, kit, backup, disk, output string

	partial bool
	s3      s3Config
}

func recoverCommand() *cobra.Command {
	var r recovery
	c := &cobra.Command{
		Use:   "recover --vault PLACE --kit FILE [--backup ID --disk NAME --output FILE]",
		Short: "Write a disk of a backup as a raw image, from a vault and its recovery kit alone",
		Long: `Recover needs no service, no database and no hypervisor: only the vault's
directory, or s3:// URL and keys, and the account's recovery kit. Without --backup
it lists the backups; without --disk it lists the disks of one.

A disk of which anything is lost is not written, unless --partial: then what is lost
reads as zeros, is printed as a JSON list of image, offset, length and reason, and
the status is 5.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := c.Flags()
	f.StringVar(&r.vault, "vault", "", "the vault's directory, or s3://bucket/prefix/account")
	f.StringVar(&r.kit, "kit", "", "file with the text of the recovery kit")
	f.StringVar(&r.backup, "backup", "", "id of the backup")
	f.StringVar(&r.disk, "disk", "", "name of the disk")
	f.StringVar(&r.output, "output", "", "file to write, which must not exist")
	f.BoolVar(&r.partial, "partial", false, "write a damaged disk too, and print what is lost of it")
	s3Flags(f, &r.s3)
	return c
}

func (r recovery) run(ctx context.Context, out io.Writer) error {
	if r.vault == "" || r.kit == "" {
		return holdfast.E(holdfast.CodeInvalidRequest, "Name the vault's directory by --vault and the file of the recovery kit by --kit.")
	}
	v, err := r.open(ctx)
	if err != nil {
		return err
	}
	if r.backup == "" {
		return listBackups(ctx, v, out)
	}
	m, err := v.Manifest(ctx, r.backup)
	if errors.Is(err, vault.ErrNoBackup) || errors.Is(err, vault.ErrID) {
		return holdfast.Wrap(holdfast.CodeBackupNotFound, "recover", "The vault has no backup "+quoted(r.backup)+".", err)
	}
	if err != nil {
		return spoiled(err)
	}
	if r.disk == "" {
		for _, i := range m.Images {
			if _, err := fmt.Fprintf(out, "%s  %d bytes\n", quoted(i.Name), i.Size); err != nil {
				return err
			}
		}
		return nil
	}
	at := slices.IndexFunc(m.Images, func(i vault.Image) bool { return i.Name == r.disk })
	if at < 0 {
		return holdfast.E(holdfast.CodeNotFound, "The backup has no disk "+quoted(r.disk)+".")
	}
	if r.output == "" {
		return holdfast.E(holdfast.CodeInvalidRequest, "Name the file to write by --output.")
	}
	return r.write(ctx, v, m.Images[at], out)
}

func (r recovery) open(ctx context.Context) (*vault.Vault, error) {
	text, err := os.ReadFile(r.kit)
	if err != nil {
		return nil, fmt.Errorf("recovery kit: %w", err)
	}
	kit, err := keys.ParseKit(string(text))
	if err != nil {
		return nil, holdfast.Wrap(holdfast.CodeInvalidRequest, "recover", r.kit+" is not a recovery kit, or is not whole.", err)
	}
	st, err := openPlace(r.vault, r.s3)
	if err != nil {
		return nil, err
	}
	v, err := vault.OpenWithKit(ctx, st, kit)
	switch {
	case errors.Is(err, vault.ErrNoVault):
		return nil, holdfast.Wrap(holdfast.CodeNotFound, "recover", "There is no vault in "+r.vault+".", err)
	case errors.Is(err, keys.ErrWrongKey):
		return nil, holdfast.Wrap(holdfast.CodeInvalidRequest, "recover", "The recovery kit does not open this vault: it is another account's, or the vault's keys are damaged.", err)
	case errors.Is(err, vault.ErrFormat):
		return nil, holdfast.Wrap(holdfast.CodeBackupDamaged, "recover", "The vault's description is damaged, or of a newer version.", err)
	}
	return v, err
}

// openPlace opens a vault's place, which must be there: a reader makes nothing.
func openPlace(place string, c s3Config) (blob.Storage, error) {
	if onS3(place) {
		return c.open(place)
	}
	if _, err := os.Stat(place); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	st, err := local.New(place)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return st, nil
}

// spoiled tells a damaged vault from a place that fails for now.
func spoiled(err error) error {
	if vault.IsDamage(err) {
		return holdfast.Wrap(holdfast.CodeBackupDamaged, "recover", "The vault is damaged here, and nothing was written.", err)
	}
	return err
}

// listBackups lists what can be read; damaged ones do not hide the others.
func listBackups(ctx context.Context, v *vault.Vault, out io.Writer) error {
	ids, err := v.Manifests(ctx)
	if err != nil {
		return err
	}
	var damage error
	for _, id := range ids {
		m, err := v.Manifest(ctx, id)
		if errors.Is(err, vault.ErrNoBackup) {
			continue // deleted meanwhile
		}
		if vault.IsDamage(err) {
			damage = errors.Join(damage, err)
			continue
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s  %s  %d disks\n", quoted(id), m.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC"), len(m.Images)); err != nil {
			return err
		}
	}
	if damage != nil {
		return holdfast.Wrap(holdfast.CodeBackupDamaged, "recover", "Some backups are damaged.", damage)
	}
	return nil
}

// write restores one image into a new file; a failed one is removed, for half a
// disk must not pass for a whole.
func (r recovery) write(ctx context.Context, v *vault.Vault, image vault.Image, out io.Writer) (err error) {
	if _, err := os.Lstat(r.output); err == nil {
		return holdfast.E(holdfast.CodeInvalidRequest, r.output+" exists already; it was not touched.")
	}
	sink, err := file.Create(r.output, image.Size)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	keep := false
	defer func() {
		err = errors.Join(err, sink.Close())
		if err != nil && !keep {
			err = errors.Join(err, os.Remove(r.output))
		}
	}()
	reader, err := v.OpenImage(ctx, image)
	if err != nil {
		return err
	}
	var lost losses
	var o vault.RestoreOptions
	if r.partial {
		o.Damaged = lost.add
	}
	if err := reader.Restore(ctx, sink, o); err != nil {
		if _, damaged := errors.AsType[*vault.DamagedError](err); damaged {
			return holdfast.Wrap(holdfast.CodeBackupDamaged, "recover", "The disk is damaged, and was not written. --partial writes what can be read, and says what cannot.", err)
		}
		return err
	}
	if err := sink.Sync(ctx); err != nil || !r.partial {
		return err
	}
	keep = true
	return lost.report(out)
}
