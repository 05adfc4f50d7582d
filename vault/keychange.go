package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// maxKeyPuts bounds how often a key blob's number is taken by another one.
const maxKeyPuts = 16

var (
	errKeyNumbers = errors.New("the numbers of the key blobs are used up")
	errKeyUnread  = errors.New("what was put does not open")
)

func putKeys(ctx context.Context, st blob.Storage, c Config) error {
	if len(c.WrappedAccount) > 0 {
		b := keyBlob{format, c.Account, c.MasterCheck, c.WrappedAccount}
		if err := ensureKey(ctx, st, accountKeys, b, b.same); err != nil {
			return err
		}
	}
	b := keyBlob{Format: format, Account: c.Account, Wrapped: c.WrappedRing}
	return ensureKey(ctx, st, ringKeys, b, b.same)
}

func (b keyBlob) same(o keyBlob) bool {
	return o.Account == b.Account && bytes.Equal(o.Wrapped, b.Wrapped)
}

// PutAccountKey makes sure that the newest account blob of a storage is one that
// the master key opens to this key, durably, and proves it by reading. Older blobs
// stay. It may be repeated.
func PutAccountKey(ctx context.Context, st blob.Storage, account string, master keys.MasterKey, key keys.AccountKey) error {
	b := keyBlob{format, account, master.Check(), master.WrapAccount(account, key)}
	if err := ensureKey(ctx, st, accountKeys, b, opensAccount(account, master, key)); err != nil {
		return fmt.Errorf("put account key: %w", err)
	}
	return nil
}

// PutRing makes sure that the newest ring blob of a storage is one that the key
// opens to this ring, durably, and proves it by reading. Older blobs stay. It may
// be repeated.
func PutRing(ctx context.Context, st blob.Storage, account string, key keys.AccountKey, ring keys.Ring) error {
	b := keyBlob{Format: format, Account: account, Wrapped: key.WrapRing(account, ring)}
	if err := ensureKey(ctx, st, ringKeys, b, opensRing(account, key, ring)); err != nil {
		return fmt.Errorf("put key ring: %w", err)
	}
	return nil
}

// RetireAccountKeys removes all account blobs but the newest that the master key
// opens to this key; without such a one it removes nothing.
func RetireAccountKeys(ctx context.Context, st blob.Storage, account string, master keys.MasterKey, key keys.AccountKey) (removed []string, err error) {
	return retireKeys(ctx, st, accountKeys, opensAccount(account, master, key))
}

// RetireRings removes all ring blobs but the newest that the key opens to this
// ring; without such a one it removes nothing.
func RetireRings(ctx context.Context, st blob.Storage, account string, key keys.AccountKey, ring keys.Ring) (removed []string, err error) {
	return retireKeys(ctx, st, ringKeys, opensRing(account, key, ring))
}

func opensAccount(account string, master keys.MasterKey, key keys.AccountKey) func(keyBlob) bool {
	return func(b keyBlob) bool {
		got, err := master.UnwrapAccount(account, b.Wrapped)
		return err == nil && b.Account == account && got.Equal(key)
	}
}

func opensRing(account string, key keys.AccountKey, ring keys.Ring) func(keyBlob) bool {
	return func(b keyBlob) bool {
		got, err := key.UnwrapRing(account, b.Wrapped)
		return err == nil && b.Account == account && got.Extends(ring) && ring.Extends(got)
	}
}

// ensureKey puts a key blob above all others unless the highest is good already,
// and reads it back: only what was read is relied on.
func ensureKey(ctx context.Context, st blob.Storage, prefix string, b keyBlob, good func(keyBlob) bool) error {
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	mine := uint64(0)
	for range maxKeyPuts {
		numbers, err := keyNumbers(ctx, st, prefix)
		if err != nil {
			return err
		}
		next := uint64(1)
		if len(numbers) > 0 {
			next = numbers[0] + 1
			read, _, err := readKeyBlobs(ctx, st, prefix, numbers[:1])
			switch {
			case err == nil && good(read[0]):
				return nil
			case errors.Is(err, blob.ErrNotFound):
				continue // gone since it was listed
			case err != nil && !errors.Is(err, ErrFormat):
				return err
			case numbers[0] == mine:
				return errKeyUnread
			}
		}
		if next > lastKeyBlob {
			return errKeyNumbers
		}
		if err = st.PutNew(ctx, keyName(prefix, next), data); err == nil {
			mine = next
		} else if !errors.Is(err, blob.ErrExists) {
			return err
		}
	}
	return errKeyNumbers
}

func retireKeys(ctx context.Context, st blob.Storage, prefix string, good func(keyBlob) bool) ([]string, error) {
	blobs, numbers, err := keyBlobs(ctx, st, prefix)
	if err != nil {
		return nil, fmt.Errorf("retire keys: %w", err)
	}
	at := slices.IndexFunc(blobs, good)
	if at < 0 {
		return nil, fmt.Errorf("retire keys: no %s blob opens: %w", prefix, keys.ErrWrongKey)
	}
	removed, err := dropKeys(ctx, st, prefix, keyName(prefix, numbers[at]))
	if err != nil {
		return removed, fmt.Errorf("retire keys: %w", err)
	}
	return removed, nil
}

// maxDropped bounds the names of one round: whoever holds the storage may list
// any number.
const maxDropped = 1 << 16

// dropKeys deletes the blobs of a prefix, but the one to keep.
func dropKeys(ctx context.Context, st blob.Storage, prefix, keep string) (removed []string, err error) {
	var doomed []string
	for info, err := range st.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		if info.Name != keep && len(doomed) < maxDropped {
			doomed = append(doomed, info.Name)
		}
	}
	slices.Sort(doomed)
	for _, name := range doomed {
		if err := st.Delete(ctx, name); err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	return removed, nil
}

// DropKeys removes every key blob of a storage for good, earlier versions too
// where the storage lets them be listed, and proves it by another list. Without a
// copy of them kept elsewhere nobody opens the vault any more: not with the master
// key, and not with a recovery kit. It returns how many objects were removed.
func DropKeys(ctx context.Context, st blob.Storage) (removed int, err error) {
	if p := blob.AsPurger(st); p != nil {
		removed, err = p.Purge(ctx, keysPrefix)
	} else {
		var names, left []string
		if names, err = dropKeys(ctx, st, keysPrefix, ""); err == nil {
			left, err = dropKeys(ctx, st, keysPrefix, "")
		}
		removed = len(names) + len(left)
	}
	if err != nil {
		return removed, fmt.Errorf("drop keys: %w", err)
	}
	return removed, nil
}
