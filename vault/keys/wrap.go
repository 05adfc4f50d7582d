package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
)

// A wrap is one version byte, a 12-byte random nonce, and AES-256-GCM of the
// plaintext with its 16-byte tag.
const (
	wrapVersion  = 1
	wrapNonce    = 12
	wrapOverhead = 1 + wrapNonce + 16
)

func gcm(key [Size]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // only for a wrong key length, which the type excludes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for a wrong block size
	}
	return aead
}

func wrap(key [Size]byte, plain []byte, ad string) []byte {
	out := make([]byte, 1+wrapNonce, wrapOverhead+len(plain))
	out[0] = wrapVersion
	_, _ = rand.Read(out[1:]) // never fails
	return gcm(key).Seal(out, out[1:1+wrapNonce], plain, []byte(ad))
}

func unwrap(key [Size]byte, sealed []byte, ad string) ([]byte, error) {
	if len(sealed) < wrapOverhead || sealed[0] != wrapVersion {
		return nil, ErrWrongKey
	}
	plain, err := gcm(key).Open(nil, sealed[1:1+wrapNonce], sealed[1+wrapNonce:], []byte(ad))
	if err != nil {
		return nil, ErrWrongKey // the cause says no more
	}
	return plain, nil
}
