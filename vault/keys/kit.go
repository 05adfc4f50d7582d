package keys

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// ErrKit says that a text is no recovery kit, or a damaged one.
var ErrKit = errors.New("not a readable recovery kit")

const (
	kitTitle  = "HOLDFAST RECOVERY KIT"
	kitMax    = 64 << 10
	kitVaults = 256
	kitWords  = `Keep this page where neither the service nor its operators can lose it, and
where nobody else can read it: whoever holds it and a copy of a vault can read
every backup of this account.

To recover without the service, its database or its hypervisors, bring the
vault's directory (or bucket) and this text to any Linux machine and run

    holdfast recover --vault DIRECTORY --kit FILE

which lists the backups and writes a disk of one of them as a raw image. The
format is published in FORMAT.md; any program that follows it will do.
`
)

// Kit is what opens one account's vaults without the service. Printing a Kit
// hides the key; only Text reveals it.
type Kit struct {
	Account  string
	Key      AccountKey
	IssuedAt time.Time
	Vaults   []string // where the vaults lay when the kit was issued: notes for people
}

// String hides the key.
func (k Kit) String() string { return "recovery kit of " + k.Account }

// Format hides the key from every verb.
func (k Kit) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// LogValue hides the key from slog.
func (k Kit) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Text is the page to print. It holds the key in clear.
func (k Kit) Text() (string, error) {
	if err := CheckAccountID(k.Account); err != nil {
		return "", fmt.Errorf("recovery kit: %w", err)
	}
	if k.Key.IsZero() {
		return "", fmt.Errorf("recovery kit: %w: no key", ErrKit)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nAccount: %s\nIssued:  %s\n", kitTitle, k.Account, k.IssuedAt.UTC().Format(time.RFC3339))
	for _, v := range k.Vaults[:min(len(k.Vaults), kitVaults)] {
		fmt.Fprintf(&b, "Vault:   %s\n", strings.Join(strings.Fields(v), " "))
	}
	text := printKey(k.Account, k.Key.secret)
	half := len(text)/2 + 1
	half -= half % 5 // whole groups
	fmt.Fprintf(&b, "Key:     %s\n         %s\n\n%s", text[:half], text[half:], kitWords)
	return b.String(), nil
}

// ParseKit reads a kit from its text, typed in or scanned. Case, spaces and
// dashes in the key do not matter; a wrong character is found by the checksum.
func ParseKit(text string) (Kit, error) {
	var k Kit
	var key string
	if len(text) > kitMax {
		return Kit{}, fmt.Errorf("%w: %d bytes", ErrKit, len(text))
	}
	inKey := false
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case inKey && (line == "" || ok):
			inKey = false
		case inKey:
			key += line
		}
		switch {
		case !ok:
		case strings.EqualFold(name, "Account") && k.Account == "":
			k.Account = value
		case strings.EqualFold(name, "Issued") && k.IssuedAt.IsZero():
			k.IssuedAt, _ = time.Parse(time.RFC3339, value) // a note; the key does not depend on it
		case strings.EqualFold(name, "Vault") && len(k.Vaults) < kitVaults:
			k.Vaults = append(k.Vaults, value)
		case strings.EqualFold(name, "Key") && key == "":
			key, inKey = value, true
		}
	}
	if err := CheckAccountID(k.Account); err != nil {
		return Kit{}, fmt.Errorf("%w: %w", ErrKit, err)
	}
	s, err := parseKey(k.Account, key)
	if err != nil {
		return Kit{}, fmt.Errorf("%w: %w", ErrKit, err)
	}
	k.Key = AccountKey{s}
	return k, nil
}
