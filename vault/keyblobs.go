package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// Key blobs are create-only like all others, so a rotated wrap gets the next
// number and the highest one counts.
const (
	accountKeys = keysPrefix + "account-"
	ringKeys    = keysPrefix + "ring-"
	maxKeyBlob  = 1 << 20
	maxKeyBlobs = 1 << 16
)

type keyBlob struct {
	Format      int    `json:"format"`
	Account     string `json:"account"`
	MasterCheck string `json:"masterCheck,omitempty"`
	Wrapped     []byte `json:"wrapped"`
}

func putKeys(ctx context.Context, st blob.Storage, c Config) error {
	if len(c.WrappedAccount) > 0 {
		b := keyBlob{format, c.Account, c.MasterCheck, c.WrappedAccount}
		if err := putKey(ctx, st, accountKeys, b); err != nil {
			return err
		}
	}
	return putKey(ctx, st, ringKeys, keyBlob{Format: format, Account: c.Account, Wrapped: c.WrappedRing})
}

// PutKeys adds newer wraps of the account key and the ring, after a rotation.
func (v *Vault) PutKeys(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("put keys: %w", err)
	}
	if err := putKeys(ctx, v.st, c); err != nil {
		return fmt.Errorf("put keys: %w", err)
	}
	return nil
}

func putKey(ctx context.Context, st blob.Storage, prefix string, b keyBlob) error {
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	for n := 1; n < maxKeyBlobs; n++ {
		name := fmt.Sprintf("%s%08d", prefix, n)
		err := st.PutNew(ctx, name, data)
		if !errors.Is(err, blob.ErrExists) {
			return err
		}
		old, err := st.Get(ctx, name, maxKeyBlob)
		if err != nil && !errors.Is(err, blob.ErrNotFound) {
			return err
		}
		if bytes.Equal(old, data) && !newerKey(ctx, st, prefix, n) {
			return nil
		}
	}
	return errors.New("too many key blobs")
}

func newerKey(ctx context.Context, st blob.Storage, prefix string, n int) bool {
	_, err := st.Stat(ctx, fmt.Sprintf("%s%08d", prefix, n+1))
	return err == nil
}

func lastKey(ctx context.Context, st blob.Storage, prefix string) (keyBlob, error) {
	last := ""
	for info, err := range st.List(ctx, prefix) {
		if err != nil {
			return keyBlob{}, err
		}
		last = max(last, info.Name)
	}
	if last == "" {
		return keyBlob{}, fmt.Errorf("%w: it has no %s blob", ErrNoVault, prefix)
	}
	data, err := st.Get(ctx, last, maxKeyBlob)
	if err != nil {
		return keyBlob{}, err
	}
	var b keyBlob
	if err := json.Unmarshal(data, &b); err != nil || b.Format != format {
		return keyBlob{}, fmt.Errorf("%w: %s", ErrFormat, last)
	}
	return b, nil
}

// Unlock reads the account's key and ring from a vault with the master key alone.
// Another master key is keys.ErrWrongKey.
func Unlock(ctx context.Context, st blob.Storage, master keys.MasterKey) (account string, key keys.AccountKey, ring keys.Ring, err error) {
	b, err := lastKey(ctx, st, accountKeys)
	if err != nil {
		return "", key, ring, fmt.Errorf("unlock vault: %w", err)
	}
	if key, err = master.UnwrapAccount(b.Account, b.Wrapped); err != nil {
		return "", key, ring, fmt.Errorf("unlock vault: %w", err)
	}
	if ring, err = unlockRing(ctx, st, b.Account, key); err != nil {
		return "", key, ring, fmt.Errorf("unlock vault: %w", err)
	}
	return b.Account, key, ring, nil
}

func unlockRing(ctx context.Context, st blob.Storage, account string, key keys.AccountKey) (keys.Ring, error) {
	b, err := lastKey(ctx, st, ringKeys)
	if err != nil {
		return keys.Ring{}, err
	}
	return key.UnwrapRing(account, b.Wrapped)
}

// OpenWithMaster opens a vault with nothing but the master key.
func OpenWithMaster(ctx context.Context, st blob.Storage, master keys.MasterKey) (*Vault, error) {
	_, _, ring, err := Unlock(ctx, st, master)
	if err != nil {
		return nil, err
	}
	return Open(ctx, st, ring)
}

// OpenWithKit opens a vault with nothing but its account's recovery kit. A kit of
// another account is keys.ErrWrongKey.
func OpenWithKit(ctx context.Context, st blob.Storage, kit keys.Kit) (*Vault, error) {
	ring, err := unlockRing(ctx, st, kit.Account, kit.Key)
	if err != nil {
		return nil, fmt.Errorf("open vault with recovery kit: %w", err)
	}
	return Open(ctx, st, ring)
}
