package holdfast

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"
	"time"
)

// The prefixes tell a customer's key from an operator's, and both from other
// secrets when they turn up in a log or a repository.
const (
	APIKeyPrefix      = "hf_"
	OperatorKeyPrefix = "hfop_"
	secretChars       = 30 // base62: 178 bits
	checksumChars     = 6
	base62            = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// APIKey is a credential of an account. The secret itself is never kept, only
// its SHA-256: it has 178 random bits, so a slow hash would add nothing.
type APIKey struct {
	ID        KeyID
	AccountID AccountID
	Name      string
	Scopes    Scopes
	Hash      string // HashSecret of the secret
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: in force
	// LastUsedAt is no more than a minute before the key's last use; zero: never used.
	LastUsedAt time.Time
}

// NewSecret draws a secret: prefix, 30 random base62 characters, and the CRC-32
// (IEEE) of all before it as 6 more, so that a mistyped one is told from a
// revoked one without asking the database. The form is GitHub's.
func NewSecret(prefix string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for range secretChars {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(base62))))
		if err != nil {
			panic("holdfast: the system has no randomness: " + err.Error())
		}
		b.WriteByte(base62[n.Int64()])
	}
	return b.String() + checksum(b.String())
}

// WellFormedSecret checks prefix, length, alphabet and checksum.
func WellFormedSecret(prefix, s string) bool {
	if !strings.HasPrefix(s, prefix) || len(s) != len(prefix)+secretChars+checksumChars {
		return false
	}
	body := s[:len(s)-checksumChars]
	return strings.Trim(body[len(prefix):], base62) == "" && checksum(body) == s[len(body):]
}

// HashSecret is what is stored of a secret: its SHA-256 in hexadecimal.
func HashSecret(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var out [checksumChars]byte
	for i := checksumChars - 1; i >= 0; i-- {
		out[i] = base62[n%62]
		n /= 62
	}
	return string(out[:])
}
