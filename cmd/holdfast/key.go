package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"holdfast"
	"holdfast/vault/keys"
)

func keyCommand() *cobra.Command {
	return group("key", "Look after the keys of the vaults: master key, account keys, data keys",
		createMasterCommand(), rotateMasterCommand(), rotateAccountCommand(), rotateDataCommand())
}

func createMasterCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "create-master FILE",
		Short: "Draw a new master key, for a rotation or a key service",
		Long: `Create-master writes a new master key to a file that must not exist. For a key
service, encrypt that file with it, prove that it comes back, and destroy the file.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			_, err := keys.CreateMasterKey(args[0])
			return err
		},
	}
}

// keyAccountCommand is a command on the keys of one account.
func keyAccountCommand(use, short, long string, run func(*cobra.Command, *installation, holdfast.AccountID) error) *cobra.Command {
	var account string
	c := &cobra.Command{
		Use: use + " --account ID", Short: short, Long: long, Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := holdfast.ParseID[holdfast.AccountID](account)
			if err != nil {
				return holdfast.E(holdfast.CodeInvalidRequest, "Name the account by its id: --account, such as `holdfast admin account list` shows.")
			}
			return onKeys(cmd, func(in *installation) error { return run(cmd, in, id) })
		},
	}
	configFlags(c.Flags())
	c.Flags().StringVar(&account, "account", "", "id of the account")
	return c
}

// onKeys runs a command that changes keys: one at a time, beside the service.
func onKeys(cmd *cobra.Command, do func(*installation) error) error {
	return onInstallation(cmd, func(in *installation) error {
		lock, err := in.lockKeys()
		if err != nil {
			return err
		}
		return errors.Join(do(in), lock.Close())
	})
}

// lockKeys keeps a second command off the keys. The lock goes with the process, so
// whoever has it finds at most what a dead one has left half done.
func (in *installation) lockKeys() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(in.config.Data, "keys.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(holdfast.Wrap(holdfast.CodeOperationInProgress, "key", "Another command works on the keys of "+in.config.Data+".", err), f.Close())
	}
	return f, nil
}

// rotation is what a command did to keys. No key is in it.
type rotation struct {
	Account     holdfast.AccountID `json:"account,omitempty"`
	Accounts    int                `json:"accounts,omitempty"`
	Epoch       uint32             `json:"epoch,omitempty"`   // of the data key in force
	Resumed     bool               `json:"resumed,omitempty"` // an earlier command had begun it
	Places      []string           `json:"places"`            // of vaults, where it is durable
	Removed     []string           `json:"removed,omitempty"` // older key blobs
	OldFinished bool               `json:"oldKeyNoLongerNeeded"`
	Note        string             `json:"note"`
}

func (r *rotation) print(w io.Writer) error {
	return printJSON(w, r)
}
