// Package pack builds and reads packs: sealed chunks one after the other, closed by a sealed table of contents.
package pack

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"holdfast/vault/chunk"
	"holdfast/vault/seal"
)

const (
	// Prefix is where packs lie.
	Prefix = "packs/"
	// MaxSize bounds a pack, whatever the vault's target is.
	MaxSize = 64 << 20
	// MaxSession is the longest session id in bytes.
	MaxSession = 64
	// TrailerSize is the length of what ends every pack.
	TrailerSize = 16

	entrySize  = 44
	maxEntries = 1 << 18
	tocOrdinal = 1 << 32 // above every chunk's
	trailMagic = "PACKTOC1"
)

// ErrMalformed says that a pack's bytes do not follow the format.
var ErrMalformed = errors.New("malformed pack")

// Class tells what a pack holds, and begins its name: data of disks, or metadata
// (tree nodes), kept apart so that walking trees does not fetch disks.
type Class byte

// The classes of packs.
const (
	Data Class = 'd'
	Meta Class = 'm'
)

// Info is what has to be known of a pack to read a chunk in it.
type Info struct {
	Session string // the session that wrote it
	Class   Class
	ID      [16]byte
	Epoch   uint32
	Salt    [32]byte
	Size    uint32 // bytes of the whole blob
	Count   uint32 // chunks
}

// NewInfo names a new pack of a session and draws its salt.
func NewInfo(session string, class Class, epoch uint32) Info {
	h := seal.NewHeader(seal.Pack, epoch)
	p := Info{Session: session, Class: class, Epoch: epoch, Salt: h.Salt}
	_, _ = rand.Read(p.ID[:]) // never fails
	return p
}

// Name is the name of the pack's blob.
func (p Info) Name() string {
	return Prefix + p.Session + "/" + string(rune(p.Class)) + hex.EncodeToString(p.ID[:])
}

// Header is the clear header of the pack's blob.
func (p Info) Header() seal.Header {
	return seal.Header{Kind: seal.Pack, Epoch: p.Epoch, Salt: p.Salt}
}

// ParseName reads session, class and id from a blob's name.
func ParseName(name string) (Info, error) {
	bad := fmt.Errorf("%w: name %q", ErrMalformed, name)
	rest, ok := strings.CutPrefix(name, Prefix)
	if !ok {
		return Info{}, bad
	}
	session, file, ok := strings.Cut(rest, "/")
	if !ok || session == "" || len(session) > MaxSession || len(file) != 33 {
		return Info{}, bad
	}
	p := Info{Session: session, Class: Class(file[0])}
	if p.Class != Data && p.Class != Meta {
		return Info{}, bad
	}
	if _, err := hex.Decode(p.ID[:], []byte(file[1:])); err != nil || p.Name() != name {
		return Info{}, bad
	}
	return p, nil
}

// Entry is one chunk in a pack.
type Entry struct {
	ID      chunk.ID
	Kind    chunk.Kind
	Codec   chunk.Codec
	Ordinal uint32
	Offset  uint32 // of the sealed bytes in the blob
	Sealed  uint32 // length of the sealed bytes
	Plain   uint32 // length of the plaintext
}

// Frame is what the entry's sealed bytes are bound to.
func (e Entry) Frame() seal.Frame {
	return seal.Frame{Ordinal: uint64(e.Ordinal), ID: e.ID, Plain: e.Plain, Codec: byte(e.Codec)}
}

// Overhead is what a pack of so many chunks holds besides them, in bytes.
func Overhead(count int) int64 {
	return seal.HeaderSize + int64(count)*entrySize + seal.Overhead + TrailerSize
}
