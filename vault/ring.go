package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast/vault/keys"
)

// ErrStaleRing says that the storage shows an older key ring than the account
// had: the newest is lost, or whoever holds the storage has put back an old one.
// Nothing is written under its keys, for they may be why there is a newer one.
var ErrStaleRing = errors.New("the storage shows an old key ring")

// RingSource reads the account's key ring as it is now, and the epoch that it
// must have reached at least. It is called concurrently.
type RingSource func(ctx context.Context) (ring keys.Ring, floor uint32, err error)

// Follow has the vault learn of rotations while it is open: from what it meets
// under a newer data key, and before each session and collection. Without it the
// vault keeps the ring that it was opened with. Call it before any other method.
func (v *Vault) Follow(source RingSource) { v.ring.source = source }

// keyring is a vault's ring, which grows while the vault is open.
type keyring struct {
	source RingSource // may be nil

	mu   sync.RWMutex
	ring keys.Ring
	read sync.Mutex // one reading at a time
}

func newKeyring(ring keys.Ring) *keyring { return &keyring{ring: ring} }

func (k *keyring) get() keys.Ring {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.ring
}

// Current is the epoch whose data key seals what is written now.
func (k *keyring) Current() uint32 { return k.get().Current() }

// ringTime bounds a reading of the ring that no context of a caller bounds.
const ringTime = time.Minute

// SealKey implements seal.Keyring. An epoch that the ring does not know has it
// read again, once: whoever can write to the storage chooses the epochs in
// headers, so this must cost no more than reading the blob did.
func (k *keyring) SealKey(epoch uint32, salt [32]byte) ([32]byte, error) {
	key, err := k.get().SealKey(epoch, salt)
	if k.source == nil || !errors.Is(err, keys.ErrEpoch) {
		return key, err
	}
	k.read.Lock()
	defer k.read.Unlock()
	if key, err := k.get().SealKey(epoch, salt); err == nil {
		return key, nil // another reader has learned it
	}
	ctx, cancel := context.WithTimeout(context.Background(), ringTime)
	defer cancel()
	if _, rerr := k.learn(ctx); rerr != nil && !errors.Is(rerr, ErrStaleRing) {
		// The place may fail for now; that is not damage.
		return [32]byte{}, fmt.Errorf("data key of epoch %d: %w", epoch, rerr)
	}
	return k.get().SealKey(epoch, salt)
}

// renew is for writers: it learns the newest ring, and refuses one that must not
// be written with.
func (k *keyring) renew(ctx context.Context) error {
	if k.source == nil {
		return nil
	}
	k.read.Lock()
	defer k.read.Unlock()
	floor, err := k.learn(ctx)
	if err == nil && k.Current() < floor {
		err = fmt.Errorf("%w: epoch %d, and %d was reached", ErrStaleRing, k.Current(), floor)
	}
	return err
}

// learn takes over a ring that goes on from ours. No other one is: whatever the
// storage shows, the vault never forgets a key nor goes back to one.
func (k *keyring) learn(ctx context.Context) (floor uint32, err error) {
	ring, floor, err := k.source(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the key ring: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !ring.Extends(k.ring) {
		return floor, ErrStaleRing
	}
	k.ring = ring
	return floor, nil
}
