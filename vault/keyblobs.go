package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// Key blobs are create-only like all others, so a rotated wrap gets the next
// number. While a rotation is under way there are several.
const (
	accountKeys = keysPrefix + "account-"
	ringKeys    = keysPrefix + "ring-"
	maxKeyBlob  = 1 << 20
	// Whoever holds the storage may put any number; so many of the highest are
	// looked at.
	maxKeyBlobs = 64
	lastKeyBlob = 99999999
)

type keyBlob struct {
	Format      int    `json:"format"`
	Account     string `json:"account"`
	MasterCheck string `json:"masterCheck,omitempty"`
	Wrapped     []byte `json:"wrapped"`
}

func keyName(prefix string, n uint64) string { return prefix + number(n) }

// keyNumbers lists the numbers of a prefix's blobs, the highest first.
func keyNumbers(ctx context.Context, st blob.Storage, prefix string) ([]uint64, error) {
	var found []uint64
	for info, err := range st.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		n, ok := planNumber(strings.TrimPrefix(info.Name, prefix))
		if !ok || n > lastKeyBlob {
			continue
		}
		at, _ := slices.BinarySearchFunc(found, n, func(a, b uint64) int { return cmp.Compare(b, a) })
		if found = slices.Insert(found, at, n); len(found) > maxKeyBlobs {
			found = found[:maxKeyBlobs]
		}
	}
	return found, nil
}

// keyBlobs reads a prefix's blobs, the highest first. Damaged ones are left out
// while there is one that is not; a place that fails is an error, for an older
// blob must not be taken because the newest did not answer. None is ErrNoVault.
func keyBlobs(ctx context.Context, st blob.Storage, prefix string) (blobs []keyBlob, numbers []uint64, err error) {
	for range maxListings {
		listed, err := keyNumbers(ctx, st, prefix)
		if err != nil {
			return nil, nil, err
		}
		if len(listed) == 0 {
			return nil, nil, fmt.Errorf("%w: it has no %s blob", ErrNoVault, prefix)
		}
		if blobs, numbers, err = readKeyBlobs(ctx, st, prefix, listed); !errors.Is(err, blob.ErrNotFound) {
			return blobs, numbers, err
		}
	}
	return nil, nil, fmt.Errorf("%w: its %s blobs vanish", ErrNoVault, prefix)
}

func readKeyBlobs(ctx context.Context, st blob.Storage, prefix string, listed []uint64) (blobs []keyBlob, numbers []uint64, err error) {
	var bad error
	for _, n := range listed {
		data, err := st.Get(ctx, keyName(prefix, n), maxKeyBlob)
		if err != nil && !errors.Is(err, blob.ErrTooLarge) {
			return nil, nil, err // gone since it was listed: there is a newer one
		}
		var b keyBlob
		if err != nil || json.Unmarshal(data, &b) != nil || b.Format != format {
			bad = fmt.Errorf("%w: %s", ErrFormat, keyName(prefix, n))
			continue
		}
		blobs, numbers = append(blobs, b), append(numbers, n)
	}
	if len(blobs) == 0 {
		return nil, nil, bad
	}
	return blobs, numbers, nil
}

// ReadRing reads an account's key ring from a storage with whichever of the keys
// opens it, and says which. Of several rings the one of the highest epoch counts:
// nobody without a key makes one, but anybody who can write to the storage may put
// an old one back under a new number. None that opens is keys.ErrWrongKey.
func ReadRing(ctx context.Context, st blob.Storage, account string, candidates ...keys.AccountKey) (ring keys.Ring, key keys.AccountKey, err error) {
	blobs, _, err := keyBlobs(ctx, st, ringKeys)
	if err != nil {
		return ring, key, fmt.Errorf("key ring: %w", err)
	}
	for _, b := range blobs {
		for _, c := range candidates {
			r, err := c.UnwrapRing(account, b.Wrapped)
			if err == nil && (ring.IsZero() || r.Current() > ring.Current()) {
				ring, key = r, c
			}
		}
	}
	if ring.IsZero() {
		return ring, key, fmt.Errorf("key ring: %w", keys.ErrWrongKey)
	}
	return ring, key, nil
}

// Unlock reads the account's key and ring from a vault with the master key alone.
// Another master key is keys.ErrWrongKey.
func Unlock(ctx context.Context, st blob.Storage, master keys.MasterKey) (account string, key keys.AccountKey, ring keys.Ring, err error) {
	blobs, _, err := keyBlobs(ctx, st, accountKeys)
	if err != nil {
		return "", key, ring, fmt.Errorf("unlock vault: %w", err)
	}
	var candidates []keys.AccountKey
	for _, b := range blobs {
		k, err := master.UnwrapAccount(b.Account, b.Wrapped)
		if err == nil && (account == "" || account == b.Account) {
			account, candidates = b.Account, append(candidates, k)
		}
	}
	if ring, key, err = ReadRing(ctx, st, account, candidates...); err != nil {
		return "", key, ring, fmt.Errorf("unlock vault: %w", err)
	}
	return account, key, ring, nil
}

// OpenWithMaster opens a vault with nothing but the master key.
func OpenWithMaster(ctx context.Context, st blob.Storage, master keys.MasterKey) (*Vault, error) {
	return openFollowing(ctx, st, func(ctx context.Context) (keys.Ring, uint32, error) {
		_, _, ring, err := Unlock(ctx, st, master)
		return ring, 0, err
	})
}

// OpenWithKit opens a vault with nothing but its account's recovery kit. A kit of
// another account is keys.ErrWrongKey.
func OpenWithKit(ctx context.Context, st blob.Storage, kit keys.Kit) (*Vault, error) {
	return openFollowing(ctx, st, func(ctx context.Context) (keys.Ring, uint32, error) {
		ring, _, err := ReadRing(ctx, st, kit.Account, kit.Key)
		return ring, 0, err
	})
}

func openFollowing(ctx context.Context, st blob.Storage, source RingSource) (*Vault, error) {
	ring, _, err := source(ctx)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	v, err := Open(ctx, st, ring)
	if err != nil {
		return nil, err
	}
	v.Follow(source)
	return v, nil
}
