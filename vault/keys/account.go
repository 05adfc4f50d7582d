package keys

import (
	"errors"
	"fmt"
)

const (
	accountContext = "holdfast 2026 v1 master key wraps account key"
	accountMark    = "holdfast 2026 v1 account key fingerprint"
	accountAD      = "holdfast account key v1\x00"
	maxAccountID   = 128
)

// ErrAccountID says that an account id is empty, too long or not printable.
var ErrAccountID = errors.New("account id not allowed")

// AccountKey wraps one account's key ring. Losing every wrap of it shreds every
// copy of the account's vaults.
type AccountKey struct{ secret }

// NewAccountKey draws a random account key.
func NewAccountKey() AccountKey { return AccountKey{newSecret()} }

// Equal compares in constant time.
func (k AccountKey) Equal(o AccountKey) bool { return k.equal(o.secret) }

// Fingerprint names the key without revealing it: 16 hexadecimal digits in groups
// of four.
func (k AccountKey) Fingerprint() string {
	sum := k.derive(accountMark)
	return fmt.Sprintf("%x-%x-%x-%x", sum[0:2], sum[2:4], sum[4:6], sum[6:8])
}

// CheckAccountID accepts 1 to 128 printable ASCII characters without spaces.
func CheckAccountID(id string) error {
	if id == "" || len(id) > maxAccountID {
		return fmt.Errorf("%w: %d characters", ErrAccountID, len(id))
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("%w: %q", ErrAccountID, id)
		}
	}
	return nil
}

// WrapAccount seals an account's key under the master key, bound to the account's id.
func (k MasterKey) WrapAccount(accountID string, key AccountKey) []byte {
	return wrap(k.derive(accountContext), key.b[:], accountAD+accountID)
}

// UnwrapAccount opens what WrapAccount sealed, or fails with ErrWrongKey.
func (k MasterKey) UnwrapAccount(accountID string, sealed []byte) (AccountKey, error) {
	plain, err := unwrap(k.derive(accountContext), sealed, accountAD+accountID)
	if err != nil {
		return AccountKey{}, fmt.Errorf("unwrap account key: %w", err)
	}
	if len(plain) != Size {
		return AccountKey{}, fmt.Errorf("unwrap account key: %w", ErrWrongKey)
	}
	var key AccountKey
	copy(key.b[:], plain)
	clear(plain)
	return key, nil
}
