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
every backup of this account. It opens the vaults named above, and copies of
them, until the account's key is replaced or destroyed.

To recover without the service, its database or its hypervisors, type this page
into a file, from "Account:" to the end of the key, and on any Linux machine run

    holdfast recover --vault PLACE --kit FILE
    holdfast recover --vault PLACE --kit FILE --backup ID
    holdfast recover --vault PLACE --kit FILE --backup ID --disk NAME --output IMAGE

The first lists the backups, the second the disks of one, and the third writes a
disk as a raw image. PLACE is the vault's directory, or s3://bucket/prefix/account;
a bucket needs --s3-endpoint URL and --s3-credentials FILE too, a file with the
lines "access_key = ..." and "secret_key = ...".

In the key, case and spaces do not matter, 0 may be typed as O, and 1 as I or L. A
wrong character is noticed.

Without that program: vault/FORMAT.md in Holdfast's source describes every byte of
a vault, and test/compat/reader there is a small program written from it alone.
`
)

// Kit is what opens one account's vaults without the service. Printing a Kit
// hides the key; only Text reveals it.
type Kit struct {
	Account  string
	Key      AccountKey
	Number   int // of the account's kits; 0: not counted
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
	if k.Number > 0 {
		fmt.Fprintf(&b, "Number:  %d of this account's kits\n", k.Number)
	}
	fmt.Fprintf(&b, "Mark:    %s (names the key without revealing it)\n", k.Key.Fingerprint())
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
