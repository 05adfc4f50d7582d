package main

import (
	"context"
	"errors"
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
	st, err := openDatabase(ctx, c, create)
	if err != nil {
		return nil, err
	}
	in := &installation{config: c, store: st}
	in.sites = sitesOf(c, log)
	if in.master, err = masterKey(ctx, c, st, create, log); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	payg := holdfast.DefaultPaygRange
	payg.MinStorageGb = c.Payg.MinStorageGb
	in.control = control.New(st, control.Options{PaygRange: payg, WrapKey: in.newAccountKey, KeyCheck: in.master.Check(), Snapshots: c.Snapshot.policy(), Restore: c.restorePolicy()})
	return in, nil
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
