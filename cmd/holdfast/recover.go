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

	s3 s3Config
}

func recoverCommand() *cobra.Command {
	var r recovery
	c := &cobra.Command{
		Use:   "recover --vault PLACE --kit FILE [--backup ID --disk NAME --output FILE]",
		Short: "Write a disk of a backup as a raw image, from a vault and its recovery kit alone",
		Long: `Recover needs no service, no database and no hypervisor: only the vault's
directory, or s3:// URL and keys, and the account's recovery kit. Without --backup
it lists the backups; without --disk it lists the disks of one.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := c.Flags()
	f.StringVar(&r.vault, "vault", "", "the vault's directory, or s3://bucket/prefix/account")
	f.StringVar(&r.kit, "kit", "", "file with the text of the recovery kit")
	f.StringVar(&r.backup, "backup", "", "id of the backup")
	f.StringVar(&r.disk, "disk", "", "name of the disk")
	f.StringVar(&r.output, "output", "", "file to write, which must not exist")
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
		return holdfast.Wrap(holdfast.CodeBackupNotFound, "recover", "The vault has no backup "+r.backup+".", err)
	}
	if err != nil {
		return spoiled(err)
	}
	if r.disk == "" {
		for _, i := range m.Images {
			if _, err := fmt.Fprintf(out, "%s  %d bytes\n", i.Name, i.Size); err != nil {
				return err
			}
		}
		return nil
	}
	at := slices.IndexFunc(m.Images, func(i vault.Image) bool { return i.Name == r.disk })
	if at < 0 {
		return holdfast.E(holdfast.CodeNotFound, "The backup has no disk "+r.disk+".")
	}
	if r.output == "" {
		return holdfast.E(holdfast.CodeInvalidRequest, "Name the file to write by --output.")
	}
	return r.write(ctx, v, m.Images[at])
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
	st, err := r.place()
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

func (r recovery) place() (blob.Storage, error) {
	if onS3(r.vault) {
		return r.s3.open(r.vault)
	}
	if _, err := os.Stat(r.vault); err != nil { // a reader makes nothing
		return nil, fmt.Errorf("vault: %w", err)
	}
	st, err := local.New(r.vault)
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
		if _, err := fmt.Fprintf(out, "%s  %s  %d disks\n", id, m.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC"), len(m.Images)); err != nil {
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
func (r recovery) write(ctx context.Context, v *vault.Vault, image vault.Image) (err error) {
	if _, err := os.Lstat(r.output); err == nil {
		return holdfast.E(holdfast.CodeInvalidRequest, r.output+" exists already; it was not touched.")
	}
	sink, err := file.Create(r.output, image.Size)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	defer func() {
		err = errors.Join(err, sink.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(r.output))
		}
	}()
	reader, err := v.OpenImage(ctx, image)
	if err != nil {
		return err
	}
	if err := reader.Restore(ctx, sink, vault.RestoreOptions{}); err != nil {
		if _, damaged := errors.AsType[*vault.DamagedError](err); damaged {
			return spoiled(err)
		}
		return err
	}
	return sink.Sync(ctx)
}
