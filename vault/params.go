package vault

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/zeebo/blake3"

	"holdfast/vault/keys"
	"holdfast/vault/pack"
)

const (
	// DefaultChunkSize is the unit of deduplication and of change, in bytes.
	DefaultChunkSize = 256 << 10
	// DefaultPackSize is the size of a full pack, in bytes. Two of them and two of
	// metadata are on their way at once: 56 MiB, which is what a killed writer
	// uploads again at most, and has to stay under 64.
	DefaultPackSize = 24 << 20

	format       = 1
	minChunkSize = 4 << 10
	maxChunkSize = 4 << 20
	maxParams    = 64 << 10
)

// Params are a vault's own, fixed when it is made. They lie in clear in
// vault.json, under a MAC.
type Params struct {
	Format    int       `json:"format"`
	ID        string    `json:"vault"`     // random, 32 hexadecimal digits
	ChunkSize int       `json:"chunkSize"` // bytes, a power of two
	PackSize  int       `json:"packSize"`  // bytes
	CreatedAt time.Time `json:"createdAt"`
}

type paramsFile struct {
	Params
	MAC string `json:"mac"`
}

func newParams(chunkSize, packSize int, now time.Time) (Params, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	p := Params{Format: format, ID: hex.EncodeToString(id[:]), ChunkSize: chunkSize, PackSize: packSize, CreatedAt: now.UTC().Truncate(time.Second)}
	if p.ChunkSize == 0 {
		p.ChunkSize = DefaultChunkSize
	}
	if p.PackSize == 0 {
		p.PackSize = DefaultPackSize
	}
	return p, p.check()
}

func (p Params) check() error {
	switch {
	case p.Format != format:
		return fmt.Errorf("%w: format %d", ErrFormat, p.Format)
	case p.ChunkSize < minChunkSize || p.ChunkSize > maxChunkSize || p.ChunkSize&(p.ChunkSize-1) != 0:
		return fmt.Errorf("%w: chunk size %d", ErrFormat, p.ChunkSize)
	case p.PackSize < 2*p.ChunkSize || p.PackSize > pack.MaxSize:
		return fmt.Errorf("%w: pack size %d", ErrFormat, p.PackSize)
	case len(p.ID) != 32:
		return fmt.Errorf("%w: vault id", ErrFormat)
	}
	return nil
}

// mac covers every parameter, so that whoever can write to the storage cannot
// change the shape in which the vault is read and written.
func (p Params) mac(ring keys.Ring) string {
	key := ring.ParamKey()
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // only for a wrong key length, which the type excludes
	}
	_, _ = fmt.Fprintf(h, "%d\n%s\n%d\n%d\n%s\n", p.Format, p.ID, p.ChunkSize, p.PackSize, p.CreatedAt.UTC().Format(time.RFC3339))
	return hex.EncodeToString(h.Sum(nil))
}

func encodeParams(p Params, ring keys.Ring) ([]byte, error) {
	data, err := json.MarshalIndent(paramsFile{p, p.mac(ring)}, "", "  ")
	return append(data, '\n'), err
}

func decodeParams(data []byte, ring keys.Ring) (Params, error) {
	var f paramsFile
	if err := json.Unmarshal(data, &f); err != nil {
		return Params{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := f.check(); err != nil {
		return Params{}, err
	}
	if subtle.ConstantTimeCompare([]byte(f.MAC), []byte(f.mac(ring))) != 1 {
		return Params{}, fmt.Errorf("%w: %s was changed, or is another account's", ErrFormat, paramsName)
	}
	return f.Params, nil
}
