package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"holdfast/disk/file"
	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/check"
	"holdfast/vault/keys"
)

const (
	accountID = "bench"
	imageName = "disk0"
)

// A vault lies in {dir}/repo, its master key beside it.
func masterFile(dir string) string { return filepath.Join(dir, "master") }

// initVault makes an empty vault.
func initVault(ctx context.Context, dir string) error {
	master, err := keys.CreateMasterKey(masterFile(dir))
	if err != nil {
		return err
	}
	st, err := local.New(filepath.Join(dir, "repo"))
	if err != nil {
		return err
	}
	account, ring := keys.NewAccountKey(), keys.NewRing()
	_, err = vault.Init(ctx, st, vault.Config{
		Account: accountID, Ring: ring, WrappedAccount: master.WrapAccount(accountID, account), MasterCheck: master.Check(),
		WrappedRing: account.WrapRing(accountID, ring), ChunkSize: number("BENCH_CHUNK", 0),
	})
	return err
}

func openVault(ctx context.Context, dir string) (*vault.Vault, error) {
	master, err := keys.LoadMasterKey(masterFile(dir))
	if err != nil {
		return nil, err
	}
	st, err := local.New(filepath.Join(dir, "repo"))
	if err != nil {
		return nil, err
	}
	return vault.OpenWithMaster(ctx, st, master)
}

// backUp is what a service does with a disk: everything that is not a hole, or
// what a list says has changed since the parent.
func backUp(ctx context.Context, dir, image, id, parent, list string) (err error) {
	v, err := openVault(ctx, dir)
	if err != nil {
		return err
	}
	src, err := file.Open(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	in := vault.ImageInput{Name: imageName, Size: src.Size(), Point: id, Read: src, Ranges: extents(ctx, src)}
	if parent != "" {
		in.Parent = &vault.Parent{Backup: parent, Image: imageName}
		if in.Ranges, err = listed(list); err != nil {
			return err
		}
	}
	return v.Write(ctx, "s-"+id, func(ctx context.Context, s *vault.Session) error {
		im, err := s.WriteImage(ctx, in)
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: id, CreatedAt: time.Now(), Images: []vault.Image{im}})
		return err
	})
}

func extents(ctx context.Context, src *file.Source) iter.Seq2[vault.Range, error] {
	return func(yield func(vault.Range, error) bool) {
		for e, err := range src.Extents(ctx) {
			if !yield(vault.Range{Offset: e.Offset, Length: e.Length, Zero: e.Zero}, err) {
				return
			}
		}
	}
}

func listed(list string) (iter.Seq2[vault.Range, error], error) {
	data, err := os.ReadFile(list) //nolint:gosec // the benchmark's own file
	if err != nil {
		return nil, err
	}
	var ranges []vault.Range
	if err := json.Unmarshal(data, &ranges); err != nil {
		return nil, err
	}
	return func(yield func(vault.Range, error) bool) {
		for _, r := range ranges {
			if !yield(r, nil) {
				return
			}
		}
	}, nil
}

// openImage opens the only image of a backup.
func openImage(ctx context.Context, v *vault.Vault, id string) (*vault.ImageReader, error) {
	m, err := v.Manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	return v.OpenImage(ctx, m.Images[0])
}

// restore writes a backup's disk into a fresh sparse file. As the others it
// leaves it to the system when the bytes reach the medium.
func restore(ctx context.Context, dir, id, path string) error {
	v, err := openVault(ctx, dir)
	if err != nil {
		return err
	}
	im, err := openImage(ctx, v, id)
	if err != nil {
		return err
	}
	out, err := file.Create(path, im.Size())
	if err != nil {
		return err
	}
	return errors.Join(im.Restore(ctx, out, vault.RestoreOptions{}), out.Close())
}

// verify proves every byte of a vault.
func verify(ctx context.Context, dir string) (report, error) {
	v, err := openVault(ctx, dir)
	if err != nil {
		return report{}, err
	}
	r, err := check.Run(ctx, v, check.Options{ReadData: true})
	if err == nil && !r.OK {
		err = fmt.Errorf("the vault is damaged: %+v", r)
	}
	return report{Bytes: r.BytesRead}, err
}
