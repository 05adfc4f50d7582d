package holdfast

import (
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"
)

// ID is a typed public identifier: a prefix that names its noun, an underscore
// and a ULID in lower-case Crockford base32 (26 characters). The zero value is
// the empty string and stands for "none".
type ID[K noun] string

type noun interface{ prefix() string }

type (
	accountNoun struct{}
	keyNoun     struct{}
	hostNoun    struct{}
	vpsNoun     struct{}
	backupNoun  struct{}
	jobNoun     struct{}
	requestNoun struct{}
	imageNoun   struct{}

	snapshotNoun struct{}
)

func (accountNoun) prefix() string { return "acct" }
func (keyNoun) prefix() string     { return "key" }
func (hostNoun) prefix() string    { return "host" }
func (vpsNoun) prefix() string     { return "vps" }
func (backupNoun) prefix() string  { return "bkp" }
func (jobNoun) prefix() string     { return "job" }
func (requestNoun) prefix() string { return "req" }
func (imageNoun) prefix() string   { return "img" }

// No snapshot shows its id: on the wire it has its name.
func (snapshotNoun) prefix() string { return "snap" }

// The identifiers, one type a noun.
type (
	AccountID = ID[accountNoun]
	KeyID     = ID[keyNoun]
	HostID    = ID[hostNoun]
	VPSID     = ID[vpsNoun]
	BackupID  = ID[backupNoun]
	JobID     = ID[jobNoun]
	RequestID = ID[requestNoun]
	OSImageID = ID[imageNoun]

	SnapshotID = ID[snapshotNoun]
)

// NewID makes an identifier from the present time and fresh randomness. It is
// safe for concurrent use; ids made within one millisecond by one process are
// ascending.
func NewID[T ID[K], K noun]() T {
	var k K
	return T(k.prefix() + "_" + strings.ToLower(ulid.Make().String()))
}

// ParseID checks the form of an identifier that came from outside. Whoever
// sends a malformed one learns no more than that there is no such thing.
func ParseID[T ID[K], K noun](s string) (T, error) {
	var k K
	rest, ok := strings.CutPrefix(s, k.prefix()+"_")
	if !ok || len(rest) != ulid.EncodedSize || rest != strings.ToLower(rest) {
		return "", fmt.Errorf("holdfast: not a %s id", k.prefix())
	}
	if _, err := ulid.ParseStrict(strings.ToUpper(rest)); err != nil {
		return "", fmt.Errorf("holdfast: not a %s id: %w", k.prefix(), err)
	}
	return T(s), nil
}

// ULID is the part of the identifier behind the prefix.
func (id ID[K]) ULID() string {
	_, rest, _ := strings.Cut(string(id), "_")
	return rest
}

// String is the whole identifier.
func (id ID[K]) String() string { return string(id) }
