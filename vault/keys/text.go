package keys

import (
	"bytes"
	"encoding/base32"
	"errors"
	"strings"

	"github.com/zeebo/blake3"
)

// ErrText says that a printed key was mistyped or cut short.
var ErrText = errors.New("the printed key is damaged or mistyped")

// Crockford's alphabet: no I, L, O or U, so that a key read from paper is not misread.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

const (
	textVersion  = 1
	textChecksum = 4
)

// printKey writes version, key and checksum in groups of four characters. The
// checksum covers the label, so that a key cannot be typed in for another owner.
func printKey(label string, key secret) string {
	raw := append([]byte{textVersion}, key.b[:]...)
	raw = append(raw, checksum(label, raw)...)
	text := crockford.EncodeToString(raw)
	var groups []string
	for len(text) > 0 {
		n := min(4, len(text))
		groups = append(groups, text[:n])
		text = text[n:]
	}
	return strings.Join(groups, "-")
}

func parseKey(label, text string) (secret, error) {
	clean := strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t', '\r', '\n':
			return -1
		case 'O', 'o':
			return '0'
		case 'I', 'i', 'L', 'l':
			return '1'
		}
		return r
	}, text)
	raw, err := crockford.DecodeString(strings.ToUpper(clean))
	if err != nil || len(raw) != 1+Size+textChecksum || raw[0] != textVersion {
		return secret{}, ErrText
	}
	body := raw[:1+Size]
	if !bytes.Equal(checksum(label, body), raw[1+Size:]) || crockford.EncodeToString(raw) != strings.ToUpper(clean) {
		return secret{}, ErrText
	}
	var key secret
	copy(key.b[:], body[1:])
	return key, nil
}

func checksum(label string, body []byte) []byte {
	sum := blake3.Sum256(append([]byte(label+"\x00"), body...))
	return sum[:textChecksum]
}
