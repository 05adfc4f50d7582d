// Package vault is the repository engine: it keeps the images of disks, deduplicated, compressed and sealed, in a blob storage.
package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/keys"
	"holdfast/vault/lru"
	"holdfast/vault/manifest"
	"holdfast/vault/seal"
)

// Manifest describes one completed backup.
type Manifest = manifest.Manifest

// Image is one disk's content within a backup.
type Image = manifest.Image

// Stats are the totals over a backup's images.
type Stats = manifest.Stats

// Vault is one account's repository at one site. It is safe for concurrent use,
// and any number of processes may use the same storage.
type Vault struct {
	st     blob.Storage
	ring   *keyring
	params Params

	refreshing sync.Mutex // held while the index is listed
	mu         sync.Mutex
	segments   map[string]*index.Segment // by blob name
	rescued    *index.Part               // of packs that no readable segment covers
	set        *index.Set

	cache   *index.Cache // nil for none
	blocks  *index.Blocks
	near    tables
	decoded decodedChunks
	boxes   *lru.Cache[[32]byte, *seal.Box] // by salt, which no two packs share
	nodes   *lru.Cache[chunk.ID, []byte]
	scratch sync.Pool // of *scratch
}

// Config says how a vault is to be made. Account and the two wraps are stored in
// the vault, so that vault and master key, or vault and recovery kit, suffice to
// open it. Zero sizes take the defaults.
type Config struct {
	Account        string
	Ring           keys.Ring
	WrappedAccount []byte // by keys.MasterKey.WrapAccount; may be nil for a vault that only a kit opens
	MasterCheck    string // keys.MasterKey.Check of the key that wrapped it
	WrappedRing    []byte // by keys.AccountKey.WrapRing
	ChunkSize      int    // bytes, a power of two
	PackSize       int    // bytes
	Now            func() time.Time

	params *Params // of the vault that this one is made a copy of
}

// Init makes a vault in an empty storage: the keys first, vault.json last. A
// vault that is there already is blob.ErrExists; one left half made is completed.
func Init(ctx context.Context, st blob.Storage, c Config, options ...Option) (*Vault, error) {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("init vault: %w", err)
	}
	params, err := newParams(c.ChunkSize, c.PackSize, now())
	if err != nil {
		return nil, fmt.Errorf("init vault: %w", err)
	}
	if c.params != nil {
		params = *c.params
	}
	if _, err := st.Stat(ctx, paramsName); err == nil {
		return nil, fmt.Errorf("init vault: %w", blob.ErrExists)
	} else if !errors.Is(err, blob.ErrNotFound) {
		return nil, fmt.Errorf("init vault: %w", err)
	}
	if err := putKeys(ctx, st, c); err != nil {
		return nil, fmt.Errorf("init vault: %w", err)
	}
	data, err := encodeParams(params, c.Ring)
	if err != nil {
		return nil, fmt.Errorf("init vault: %w", err)
	}
	if err := st.PutNew(ctx, paramsName, data); err != nil {
		return nil, fmt.Errorf("init vault: %w", err)
	}
	return newVault(st, c.Ring, params, options)
}

func (c Config) check() error {
	if err := keys.CheckAccountID(c.Account); err != nil {
		return err
	}
	if c.Ring.IsZero() || len(c.WrappedRing) == 0 {
		return errors.New("a vault needs a key ring and its wrap")
	}
	return nil
}

// Open opens the vault in a storage with its account's ring. It reads vault.json
// only. No vault is ErrNoVault; another account's ring, or damage, ErrFormat.
func Open(ctx context.Context, st blob.Storage, ring keys.Ring, options ...Option) (*Vault, error) {
	data, err := st.Get(ctx, paramsName, maxParams)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, fmt.Errorf("open vault: %w", ErrNoVault)
	}
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	params, err := decodeParams(data, ring)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return newVault(st, ring, params, options)
}

func newVault(st blob.Storage, ring keys.Ring, params Params, options []Option) (*Vault, error) {
	v := &Vault{st: st, ring: newKeyring(ring), params: params, segments: map[string]*index.Segment{}, set: index.NewSet(),
		blocks: index.NewBlocks(indexBlocks), decoded: newDecodedChunks(decodedBytes),
		boxes: lru.New[[32]byte, *seal.Box](maxBoxes), nodes: lru.New[chunk.ID, []byte](nodeBytes)}
	v.scratch.New = func() any { return newScratch(ring, params.ChunkSize) }
	for _, o := range options {
		if err := o(v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Present is nil for a vault that is still where it was opened, ErrNoVault for one
// that is gone, which nothing may be written to any more.
func (v *Vault) Present(ctx context.Context) error {
	there, err := v.exists(ctx, paramsName)
	if err == nil && !there {
		err = ErrNoVault
	}
	return err
}

// Params returns the vault's parameters.
func (v *Vault) Params() Params { return v.params }
