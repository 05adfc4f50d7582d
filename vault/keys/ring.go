package keys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

const (
	ringContext = "holdfast 2026 v1 account key wraps key ring"
	ringAD      = "holdfast key ring v1\x00"
	ringVersion = 1
	maxEpochs   = 4096

	sealContext  = "holdfast 2026 v1 data key and salt to sealing key"
	chunkContext = "holdfast 2026 v1 id key to chunk ids"
	nodeContext  = "holdfast 2026 v1 id key to node ids"
	paramContext = "holdfast 2026 v1 id key to parameters"
)

// ErrEpoch says that a ring holds no data key of the epoch asked for.
var ErrEpoch = errors.New("no data key of this epoch")

// Ring is one account's id key, which never changes, and its data keys by epoch.
// It is immutable: Rotate returns another.
type Ring struct {
	id      secret
	data    map[uint32]secret
	current uint32
}

// NewRing draws a fresh ring with one data key, of epoch 1.
func NewRing() Ring {
	return Ring{id: newSecret(), data: map[uint32]secret{1: newSecret()}, current: 1}
}

// Rotate returns the ring with one more data key, which new packs will use. A
// ring that holds 4096 is full: ErrEpoch.
func (r Ring) Rotate() (Ring, error) {
	if len(r.data) >= maxEpochs || r.current == math.MaxUint32 {
		return Ring{}, fmt.Errorf("%w: the ring is full with %d", ErrEpoch, len(r.data))
	}
	data := maps.Clone(r.data)
	data[r.current+1] = newSecret()
	return Ring{id: r.id, data: data, current: r.current + 1}, nil
}

// Extends reports whether the ring is o, or o after rotations: it opens all that
// o opens, and does not fall behind it.
func (r Ring) Extends(o Ring) bool {
	if r.IsZero() || !r.id.equal(o.id) || r.current < o.current {
		return false
	}
	for epoch, key := range o.data {
		if mine, ok := r.data[epoch]; !ok || !mine.equal(key) {
			return false
		}
	}
	return true
}

// Current is the epoch whose data key seals what is written now.
func (r Ring) Current() uint32 { return r.current }

// IsZero reports whether the ring is absent.
func (r Ring) IsZero() bool { return r.id.IsZero() || len(r.data) == 0 }

// String hides the keys.
func (r Ring) String() string { return redacted }

// SealKey derives the AES key of one blob from an epoch's data key and the blob's salt.
func (r Ring) SealKey(epoch uint32, salt [32]byte) ([Size]byte, error) {
	key, ok := r.data[epoch]
	if !ok {
		return [Size]byte{}, fmt.Errorf("%w: %d", ErrEpoch, epoch)
	}
	return key.derive(sealContext, salt[:]...), nil
}

// ChunkIDKey is the key of the BLAKE3 that names chunks of disks.
func (r Ring) ChunkIDKey() [Size]byte { return r.id.derive(chunkContext) }

// NodeIDKey is the key of the BLAKE3 that names tree nodes.
func (r Ring) NodeIDKey() [Size]byte { return r.id.derive(nodeContext) }

// ParamKey is the key of the BLAKE3 that authenticates a vault's parameters.
func (r Ring) ParamKey() [Size]byte { return r.id.derive(paramContext) }

// WrapRing seals a ring under the account's key, bound to the account's id.
func (k AccountKey) WrapRing(accountID string, r Ring) []byte {
	plain := []byte{ringVersion}
	plain = append(plain, r.id.b[:]...)
	plain = binary.LittleEndian.AppendUint32(plain, r.current)
	for _, epoch := range slices.Sorted(maps.Keys(r.data)) {
		key := r.data[epoch]
		plain = binary.LittleEndian.AppendUint32(plain, epoch)
		plain = append(plain, key.b[:]...)
	}
	defer clear(plain)
	return wrap(k.derive(ringContext), plain, ringAD+accountID)
}

// UnwrapRing opens what WrapRing sealed, or fails with ErrWrongKey.
func (k AccountKey) UnwrapRing(accountID string, sealed []byte) (Ring, error) {
	plain, err := unwrap(k.derive(ringContext), sealed, ringAD+accountID)
	if err != nil {
		return Ring{}, fmt.Errorf("unwrap key ring: %w", err)
	}
	defer clear(plain)
	return decodeRing(plain)
}

func decodeRing(plain []byte) (Ring, error) {
	const head, entry = 1 + Size + 4, 4 + Size
	bad := fmt.Errorf("unwrap key ring: %w", ErrWrongKey)
	if len(plain) < head+entry || plain[0] != ringVersion || (len(plain)-head)%entry != 0 || len(plain) > head+maxEpochs*entry {
		return Ring{}, bad
	}
	r := Ring{data: map[uint32]secret{}, current: binary.LittleEndian.Uint32(plain[1+Size:])}
	copy(r.id.b[:], plain[1:])
	for rest := plain[head:]; len(rest) > 0; rest = rest[entry:] {
		var key secret
		copy(key.b[:], rest[4:])
		r.data[binary.LittleEndian.Uint32(rest)] = key
	}
	if _, ok := r.data[r.current]; !ok {
		return Ring{}, bad
	}
	return r, nil
}
