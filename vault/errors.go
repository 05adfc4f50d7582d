package vault

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"holdfast/vault/blob"
	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/keys"
	"holdfast/vault/manifest"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
	"holdfast/vault/tree"
)

var (
	// ErrNoVault says that the storage holds no vault, or one that was never
	// completely made. Retrying is of no use.
	ErrNoVault = errors.New("no vault here")
	// ErrFormat says that vault.json is damaged, forged, or of a newer format.
	ErrFormat = errors.New("vault of an unknown or damaged format")
	// ErrNoBackup says that no backup of that id exists, or no longer.
	ErrNoBackup = errors.New("no such backup in the vault")
	// ErrDeleted says that the backup was deleted: its id can never be used again.
	ErrDeleted = errors.New("backup was deleted")
	// ErrSessionLost says that a collector has ended this session: whatever it
	// wrote does not count, and the work begins anew, as another backup.
	ErrSessionLost = errors.New("vault session was ended by a collector")
	// ErrID says that an id of a backup or session breaks the rules: 1 to 64
	// lower-case letters, digits, "-", "_" and ".", the first a letter or digit.
	ErrID = errors.New("id not allowed")
	// ErrRanges says that the ranges of an image do not ascend, or leave the disk.
	ErrRanges = errors.New("ranges must ascend within the disk")
	// ErrMissing says that a chunk lies in no pack the index knows.
	ErrMissing = errors.New("chunk missing")
	// ErrContent says that a chunk's content is not what its id names.
	ErrContent = errors.New("chunk content does not match its id")
)

// DamagedError says which bytes of an image cannot be read. Everything outside
// them can.
type DamagedError struct {
	Image  string
	Offset int64 // bytes
	Length int64 // bytes
	Err    error
}

// Error names image and extent.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("image %q is damaged at byte %d, %d bytes long: %v", e.Image, e.Offset, e.Length, e.Err)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// IsDamage tells bytes of a vault that are lost or changed, which no retry brings
// back, from a storage that fails for now. It is meant for errors of this package
// alone: a storage's own words are among what it knows.
func IsDamage(err error) bool { return damage(err) }

func damage(err error) bool {
	for _, d := range []error{ErrMissing, ErrContent, blob.ErrNotFound, blob.ErrTooLarge, io.ErrUnexpectedEOF, syscall.EIO,
		keys.ErrEpoch,
		seal.ErrSealed, seal.ErrHeader, chunk.ErrPayload, index.ErrMalformed, pack.ErrMalformed,
		tree.ErrMalformed, manifest.ErrMalformed} {
		if errors.Is(err, d) {
			return true
		}
	}
	return false
}
