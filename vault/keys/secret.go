// Package keys holds the vault's keys: master, account and ring, their wrapping, and the recovery kit.
package keys

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"

	"github.com/zeebo/blake3"
)

// Size is the length of every key in bytes.
const Size = 32

const redacted = "[secret]"

var (
	// ErrWrongKey says that a key does not open what was given, or that the
	// sealed bytes were changed; the two cannot be told apart.
	ErrWrongKey = errors.New("wrong key, or the sealed key was changed")
	// ErrMarshal is the answer to every attempt to marshal a key.
	ErrMarshal = errors.New("a secret key is never marshalled")
)

// secret is key material that no formatter, logger or encoder reveals.
type secret struct{ b [Size]byte }

func newSecret() secret {
	var s secret
	_, _ = rand.Read(s.b[:]) // never fails
	return s
}

// String hides the key.
func (secret) String() string { return redacted }

// GoString hides the key.
func (secret) GoString() string { return redacted }

// Format hides the key from every verb.
func (secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the key from slog.
func (secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses with ErrMarshal.
func (secret) MarshalText() ([]byte, error) { return nil, ErrMarshal }

// MarshalJSON refuses with ErrMarshal.
func (secret) MarshalJSON() ([]byte, error) { return nil, ErrMarshal }

// MarshalBinary refuses with ErrMarshal.
func (secret) MarshalBinary() ([]byte, error) { return nil, ErrMarshal }

// GobEncode refuses with ErrMarshal.
func (secret) GobEncode() ([]byte, error) { return nil, ErrMarshal }

// IsZero reports whether the key is absent.
func (s secret) IsZero() bool { return s == secret{} }

func (s secret) equal(o secret) bool { return subtle.ConstantTimeCompare(s.b[:], o.b[:]) == 1 }

// derive makes a key of another purpose: BLAKE3 in key derivation mode over the
// key and then the extra material.
func (s secret) derive(context string, extra ...byte) (out [Size]byte) {
	material := make([]byte, 0, 2*Size)
	material = append(append(material, s.b[:]...), extra...)
	blake3.DeriveKey(context, material, out[:])
	clear(material)
	return out
}
