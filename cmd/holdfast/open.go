package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/control"
	"holdfast/store"
	"holdfast/vault/keys"
)

// installation is an opened data directory: what the service and the operator's
// commands share.
type installation struct {
	config  config
	store   *store.Store
	master  keys.MasterKey
	control *control.Control
	sites   []*site // the first one first
}

// openInstallation opens the data directory. The service fills it at its first
// start (create); a command only finds what is there.
func openInstallation(ctx context.Context, c config, create bool, log *slog.Logger) (*installation, error) {
	if _, err := os.Stat(c.Database); err != nil && !create {
		return nil, holdfast.Wrap(holdfast.CodeNotFound, "open", "There is no service in "+c.Data+". Start it once with `holdfast serve --data "+c.Data+"`, or name the right directory by --data.", err)
	}
	st, err := store.Open(ctx, c.Database)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	in := &installation{config: c, store: st}
	in.sites = sitesOf(c, log)
	if in.master, err = masterKey(ctx, c.MasterKey, st, create, log); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	payg := holdfast.DefaultPaygRange
	payg.MinStorageGb = c.Payg.MinStorageGb
	in.control = control.New(st, control.Options{PaygRange: payg, WrapKey: in.newAccountKey})
	return in, nil
}

// newAccountKey draws an account's key and returns it wrapped.
func (in *installation) newAccountKey(_ context.Context, account holdfast.AccountID) ([]byte, error) {
	return in.master.WrapAccount(string(account), keys.NewAccountKey()), nil
}

// masterKey loads the key that wraps all others, and proves it by the check
// value in the database. A first start makes both; a missing key later is
// refused, for a new one would open nothing.
func masterKey(ctx context.Context, path string, st *store.Store, create bool, log *slog.Logger) (keys.MasterKey, error) {
	check, err := st.Meta(ctx, store.MetaKeyCheck)
	first := errors.Is(err, store.ErrNotFound)
	if err != nil && !first {
		return keys.MasterKey{}, fmt.Errorf("master key: %w", err)
	}
	key, err := keys.LoadMasterKey(path)
	switch {
	case err == nil && !first:
		if err := key.Verify(string(check)); err != nil {
			return key, fmt.Errorf("%s is not the master key of this service: put back the copy that was made at the first start: %w", path, err)
		}
		return key, nil
	case errors.Is(err, fs.ErrNotExist) && first && create:
		if key, err = keys.CreateMasterKey(path); err != nil {
			return key, fmt.Errorf("master key: %w", err)
		}
		log.WarnContext(ctx, "COPY THE MASTER KEY to a place outside this machine now: without it no backup can ever be read again", "file", path)
	case errors.Is(err, fs.ErrNotExist):
		return key, fmt.Errorf("the master key %s is missing: put back the copy that was made at the first start: %w", path, err)
	case err != nil:
		return key, fmt.Errorf("master key: %w", err)
	}
	return key, st.Tx(ctx, func(tx *store.Tx) error {
		return tx.PutMeta(ctx, store.MetaKeyCheck, []byte(key.Check()))
	})
}

// close ends the use of the data directory.
func (in *installation) close() error { return in.store.Close() }

// onInstallation runs a command over the data directory that its flags name.
func onInstallation(cmd *cobra.Command, do func(*installation) error) (err error) {
	cfg, err := loadConfig(cmd.Flags(), os.Environ())
	if err != nil {
		return err
	}
	in, err := openInstallation(cmd.Context(), cfg, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	return do(in)
}
