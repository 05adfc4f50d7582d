// Package seal is the one rule by which every stored byte is encrypted and authenticated.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// HeaderSize is the length in bytes of the clear header of a sealed blob.
	HeaderSize = 48
	// Overhead is what sealing adds to a payload, in bytes.
	Overhead = 16
	// Version is the format version this package writes and reads.
	Version = 1

	magic  = "HOLD"
	adSize = HeaderSize + 8 + 32 + 4 + 1
)

var (
	// ErrHeader says that a blob does not begin with a header of the kind wanted.
	ErrHeader = errors.New("not a vault blob of the kind wanted")
	// ErrSealed says that sealed bytes were changed, moved, or belong to another key.
	ErrSealed = errors.New("sealed bytes do not authenticate")
)

// Kind tells what a blob holds; one kind never opens as another.
type Kind byte

// The kinds of blobs.
const (
	Pack     Kind = 'P'
	Index    Kind = 'I'
	Manifest Kind = 'M'
	Session  Kind = 'S'
	Plan     Kind = 'C' // of a collection, and its decision
)

// Header begins every sealed blob, in clear; everything sealed in the blob is bound to it.
type Header struct {
	Kind  Kind
	Epoch uint32   // of the data key
	Salt  [32]byte // fresh and random for each blob ever opened for writing
}

// NewHeader draws a fresh salt. Every blob opened for writing needs its own.
func NewHeader(kind Kind, epoch uint32) Header {
	h := Header{Kind: kind, Epoch: epoch}
	_, _ = rand.Read(h.Salt[:]) // never fails
	return h
}

// Append writes the header's 48 bytes.
func (h Header) Append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, Version, byte(h.Kind), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, h.Epoch)
	b = append(b, 0, 0, 0, 0)
	return append(b, h.Salt[:]...)
}

// ParseHeader reads a header, or fails with ErrHeader.
func ParseHeader(b []byte, kind Kind) (Header, error) {
	if len(b) < HeaderSize || string(b[:4]) != magic || b[5] != byte(kind) ||
		b[6] != 0 || b[7] != 0 || binary.LittleEndian.Uint32(b[12:]) != 0 {
		return Header{}, ErrHeader
	}
	if b[4] != Version {
		return Header{}, fmt.Errorf("%w: format version %d", ErrHeader, b[4])
	}
	h := Header{Kind: kind, Epoch: binary.LittleEndian.Uint32(b[8:])}
	copy(h.Salt[:], b[16:])
	return h, nil
}

// Frame is what a sealed payload is bound to, besides its blob's header.
type Frame struct {
	Ordinal uint64   // the nonce: unique in the blob
	ID      [32]byte // chunk id, or the hash of what names the payload
	Plain   uint32   // length of the plaintext before any compression
	Codec   byte
}

// Keyring derives the AES key of a blob from the data key of its epoch and its salt.
type Keyring interface {
	SealKey(epoch uint32, salt [32]byte) ([32]byte, error)
}

// Box seals and opens the payloads of one blob. It is safe for concurrent use.
type Box struct {
	aead   cipher.AEAD
	header [HeaderSize]byte
}

// NewBox derives the key of the blob that the header begins.
func NewBox(keys Keyring, h Header) (*Box, error) {
	key, err := keys.SealKey(h.Epoch, h.Salt)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key[:])
	clear(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	b := &Box{aead: aead}
	h.Append(b.header[:0])
	return b, nil
}

// Seal appends the sealed payload, Overhead bytes longer, to dst.
func (b *Box) Seal(dst, payload []byte, f Frame) []byte {
	nonce, ad := b.bind(f)
	return b.aead.Seal(dst, nonce[:], payload, ad[:])
}

// Open appends the payload to dst, or fails with ErrSealed. dst may be sealed[:0].
func (b *Box) Open(dst, sealed []byte, f Frame) ([]byte, error) {
	nonce, ad := b.bind(f)
	out, err := b.aead.Open(dst, nonce[:], sealed, ad[:])
	if err != nil {
		return nil, ErrSealed // the cause says no more
	}
	return out, nil
}

func (b *Box) bind(f Frame) (nonce [12]byte, ad [adSize]byte) {
	binary.BigEndian.PutUint64(nonce[4:], f.Ordinal)
	n := copy(ad[:], b.header[:])
	binary.LittleEndian.PutUint64(ad[n:], f.Ordinal)
	copy(ad[n+8:], f.ID[:])
	binary.LittleEndian.PutUint32(ad[n+40:], f.Plain)
	ad[n+44] = f.Codec
	return nonce, ad
}
