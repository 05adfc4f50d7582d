package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/zeebo/blake3"
)

// ring is section 1's key ring.
type ring struct {
	idKey []byte
	data  map[uint32][]byte // by epoch
}

func derive(context string, material ...byte) []byte {
	out := make([]byte, 32)
	blake3.DeriveKey(context, material, out)
	return out
}

func keyed(key, data []byte) []byte {
	h, err := blake3.NewKeyed(key)
	if err != nil {
		panic(err) // a key of another length than 32 is a mistake of this program
	}
	_, _ = h.Write(data)
	return h.Sum(nil)
}

func decrypt(key, nonce, sealed, ad []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nonce, sealed, ad)
}

func unwrap(key, wrap []byte, ad string) ([]byte, error) {
	if len(wrap) < 1+12+16 || wrap[0] != 1 {
		return nil, errors.New("wrapped key is damaged")
	}
	return decrypt(key, wrap[1:13], wrap[13:], []byte(ad))
}

var plainKey = strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "", " ", "", "\t", "", "\r", "", "\n", "")

// printed reads the printed form of a key.
func printed(text, label string) ([]byte, error) {
	alphabet := base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)
	raw, err := alphabet.DecodeString(plainKey.Replace(strings.ToUpper(text)))
	if err != nil {
		return nil, fmt.Errorf("printed key: %w", err)
	}
	if len(raw) != 37 || raw[0] != 1 {
		return nil, errors.New("printed key: cut short, or of another version")
	}
	if sum := blake3.Sum256([]byte(label + "\x00" + string(raw[:33]))); !bytes.Equal(sum[:4], raw[33:]) {
		return nil, errors.New("printed key: mistyped")
	}
	return raw[1:33], nil
}

// kit finds account and key in the text of a recovery kit.
func kit(text string) (account string, key []byte, err error) {
	var digits strings.Builder
	in := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, value, field := strings.Cut(line, ":")
		switch {
		case field && name == "Account":
			account, in = strings.TrimSpace(value), false
		case field:
			in = name == "Key"
			line = value
		case line == "":
			in = false
		}
		if in {
			digits.WriteString(line)
		}
	}
	key, err = printed(digits.String(), account)
	return account, key, err
}

// unlock goes from a kit's or master key's text to the ring.
func (v *vault) unlock(text string) error {
	const label = "holdfast master key v1"
	var account string
	var key []byte
	first, rest, _ := strings.Cut(text, "\n")
	if strings.TrimSpace(first) == label {
		master, err := printed(rest, label)
		if err != nil {
			return err
		}
		account, key, err = v.wrapped("keys/account-", "", derive("holdfast 2026 v1 master key wraps account key", master...), "holdfast account key v1")
		if err != nil {
			return fmt.Errorf("account key: %w", err)
		}
	} else {
		var err error
		if account, key, err = kit(text); err != nil {
			return err
		}
	}
	if len(key) != 32 {
		return errors.New("account key: not 32 bytes")
	}
	_, packed, err := v.wrapped("keys/ring-", account, derive("holdfast 2026 v1 account key wraps key ring", key...), "holdfast key ring v1")
	if err != nil {
		return fmt.Errorf("key ring: %w", err)
	}
	return v.ring.unpack(packed)
}

// wrapped opens the last key blob with a prefix; without an account, the
// blob's own is taken, which the wrap proves.
func (v *vault) wrapped(prefix, account string, key []byte, ad string) (string, []byte, error) {
	names, err := v.names(prefix)
	if err != nil {
		return "", nil, err
	}
	if len(names) == 0 {
		return "", nil, fmt.Errorf("the vault has no %sNNNNNNNN", prefix)
	}
	data, err := v.blob(names[len(names)-1], 1<<20)
	if err != nil {
		return "", nil, err
	}
	var b struct {
		Format  int
		Account string
		Wrapped []byte
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return "", nil, err
	}
	if b.Format != 1 || account != "" && b.Account != account {
		return "", nil, errors.New("of another format or account")
	}
	plain, err := unwrap(key, b.Wrapped, ad+"\x00"+b.Account)
	return b.Account, plain, err
}

func (r *ring) unpack(p []byte) error {
	if len(p) < 37+36 || (len(p)-37)%36 != 0 || p[0] != 1 {
		return errors.New("key ring is damaged")
	}
	r.idKey, r.data = p[1:33], map[uint32][]byte{}
	for rest := p[37:]; len(rest) > 0; rest = rest[36:] {
		r.data[binary.LittleEndian.Uint32(rest)] = rest[4:36]
	}
	return nil
}
