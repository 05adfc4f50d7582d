package keys

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every way in which Go code prints or encodes a value by accident.
func TestKeysNeverShow(t *testing.T) {
	master, account, ring := NewMasterKey(), NewAccountKey(), rotated(t, 1)
	kit := Kit{Account: "acc", Key: account}
	var raw [][]byte
	for _, s := range []secret{master.secret, account.secret, ring.id, ring.data[1], ring.data[2]} {
		raw = append(raw, s.b[:])
	}
	for _, v := range []any{master, &master, account, &account, ring, &ring, kit, &kit, struct{ K any }{master}, []any{account, ring}} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			fmt.Fprintf(&out, verb, v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "k", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "k", v)
		if data, err := json.Marshal(v); err == nil {
			out.Write(data)
		}
		_ = gob.NewEncoder(&out).Encode(v)
		for _, r := range raw {
			for _, form := range []string{string(r), hex.EncodeToString(r), strings.ToUpper(hex.EncodeToString(r)), strings.Trim(fmt.Sprint([]any{r}...), "[]"), crockford.EncodeToString(r)[:20]} {
				if strings.Contains(out.String(), form) {
					t.Fatalf("%T shows a key", v)
				}
			}
		}
	}
	for _, v := range []json.Marshaler{master, account, ring} {
		if _, err := v.MarshalJSON(); !errors.Is(err, ErrMarshal) {
			t.Errorf("%T: %v", v, err)
		}
	}
}

func rotated(t *testing.T, times int) Ring {
	t.Helper()
	r := NewRing()
	for range times {
		next, err := r.Rotate()
		if err != nil || !next.Extends(r) || !next.Extends(next) || r.Extends(next) {
			t.Fatalf("rotate: %v", err)
		}
		r = next
	}
	return r
}

// A ring that is not what it was before is another one, whatever its epoch.
func TestExtends(t *testing.T) {
	r := rotated(t, 1)
	forged := Ring{id: r.id, data: map[uint32]secret{1: newSecret(), 2: newSecret(), 3: newSecret()}, current: 3}
	short := Ring{id: r.id, data: map[uint32]secret{2: r.data[2]}, current: 2}
	for name, o := range map[string]Ring{"forged keys": forged, "a key lost": short, "another": rotated(t, 4), "none": {}} {
		if o.Extends(r) {
			t.Error(name)
		}
	}
	full := NewRing()
	for i := range uint32(maxEpochs) {
		full.data[i+1], full.current = full.data[1], i+1
	}
	if _, err := full.Rotate(); !errors.Is(err, ErrEpoch) {
		t.Errorf("a full ring: %v", err)
	}
	account := NewAccountKey()
	if _, err := account.UnwrapRing("a", account.WrapRing("a", full)); err != nil {
		t.Errorf("a full ring cannot be read: %v", err)
	}
}

func TestWraps(t *testing.T) {
	master, account, ring := NewMasterKey(), NewAccountKey(), rotated(t, 2)
	wrapped := master.WrapAccount("acc-1", account)
	got, err := master.UnwrapAccount("acc-1", wrapped)
	if err != nil || !got.Equal(account) {
		t.Fatalf("unwrap: %v", err)
	}
	wrappedRing := account.WrapRing("acc-1", ring)
	r, err := account.UnwrapRing("acc-1", wrappedRing)
	if err != nil || r.Current() != 3 || !r.id.equal(ring.id) || len(r.data) != 3 || !r.data[2].equal(ring.data[2]) {
		t.Fatalf("unwrap ring: %v", err)
	}
	if _, err := master.UnwrapAccount("acc-2", wrapped); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another account's id: %v", err)
	}
	if _, err := NewMasterKey().UnwrapAccount("acc-1", wrapped); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another master key: %v", err)
	}
	if _, err := NewAccountKey().UnwrapRing("acc-1", wrappedRing); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another account key: %v", err)
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if _, err := master.UnwrapAccount("acc-1", bad); !errors.Is(err, ErrWrongKey) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := master.UnwrapAccount("acc-1", wrapped[:i]); !errors.Is(err, ErrWrongKey) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := ring.SealKey(9, [32]byte{}); !errors.Is(err, ErrEpoch) {
		t.Errorf("unknown epoch: %v", err)
	}
	if ring.ChunkIDKey() == ring.NodeIDKey() || ring.ChunkIDKey() == ring.ParamKey() {
		t.Error("keys of different purposes are equal")
	}
}

func TestMasterKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	if _, err := LoadMasterKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	k, err := CreateMasterKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateMasterKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("files left: %v, %v", entries, err)
	}
	got, err := LoadMasterKey(path)
	if err != nil || !got.equal(k.secret) {
		t.Fatalf("load: %v", err)
	}
	if err := got.Verify(k.Check()); err != nil {
		t.Errorf("verify: %v", err)
	}
	if err := NewMasterKey().Verify(k.Check()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("verify of another: %v", err)
	}
	if err := (MasterKey{}).Verify(MasterKey{}.Check()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("verify of none: %v", err)
	}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o700} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMasterKey(path); !errors.Is(err, ErrMode) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"empty": "", "torn": string(text[:40]), "other": "hello\nworld\n", "typo": strings.Replace(string(text), "-", "-0", 1)} {
		p := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(p, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMasterKey(p); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKit(t *testing.T) {
	kit := Kit{Account: "acc-1", Key: NewAccountKey(), Number: 12, IssuedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Vaults: []string{"dir /srv/v", "s3 bucket x\nKey: evil"}}
	text, err := kit.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseKit(text)
	if err != nil || got.Account != kit.Account || !got.Key.Equal(kit.Key) || !got.IssuedAt.Equal(kit.IssuedAt) || len(got.Vaults) != 2 {
		t.Fatalf("parse: %v, %v", got, err)
	}
	// It is one page, and says which kit it is.
	lines := strings.Split(text, "\n")
	for _, line := range lines {
		if len(line) > 84 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if len(lines) > 56 || !strings.Contains(text, "Number:  12 ") || !strings.Contains(text, kit.Key.Fingerprint()) {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	if kit.Key.Fingerprint() == NewAccountKey().Fingerprint() || len(kit.Key.Fingerprint()) != 19 {
		t.Error("fingerprints do not name keys")
	}
	// As a person types it in.
	typed := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(text, "-", " "), "acc 1", "acc-1"))
	typed = strings.ReplaceAll(typed, "\n", "\r\n")
	if got, err = ParseKit(typed); err != nil || !got.Key.Equal(kit.Key) {
		t.Errorf("typed in: %v", err)
	}
	if _, err := ParseKit(strings.Replace(text, "Account: acc-1", "Account: acc-2", 1)); !errors.Is(err, ErrKit) {
		t.Errorf("another account's name: %v", err)
	}
	// Every single wrong character of the key is noticed.
	at := strings.Index(text, "\nKey:     ") + len("\nKey:     ")
	for i := at; i < at+30; i++ {
		if text[i] == '-' {
			continue
		}
		c := byte('7')
		if text[i] == c {
			c = '8'
		}
		if _, err := ParseKit(text[:i] + string(c) + text[i+1:]); !errors.Is(err, ErrKit) {
			t.Errorf("character %d wrong: %v", i-at, err)
		}
	}
	for _, bad := range []string{"", "Key: x", "Account: a", strings.Repeat("x", kitMax+1)} {
		if _, err := ParseKit(bad); !errors.Is(err, ErrKit) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	if _, err := (Kit{Account: "acc"}).Text(); err == nil {
		t.Error("a kit without a key was printed")
	}
}

// A kit is typed in by anyone who asks for a recovery.
func FuzzParseKit(f *testing.F) {
	text, err := Kit{Account: "acc", Key: NewAccountKey()}.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("Account: a\nKey: 0000-0000\n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKit(text)
		if err != nil {
			return
		}
		printed, err := k.Text()
		if err != nil {
			return // an all-zero key parses, but is not printed
		}
		again, err := ParseKit(printed)
		if err != nil || again.Account != k.Account || !again.Key.Equal(k.Key) {
			t.Errorf("printed and read again: %v", err)
		}
	})
}

// A ring's plaintext is authenticated, but a stolen account key could forge one.
func FuzzDecodeRing(f *testing.F) {
	f.Add([]byte{1})
	f.Add(append([]byte{1}, make([]byte, 32+4+36)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRing(data)
		if err == nil {
			if _, err := r.SealKey(r.Current(), [32]byte{}); err != nil {
				t.Error(err)
			}
		}
	})
}

// A printed key is typed in; whatever is taken prints as it was meant.
func FuzzParseKey(f *testing.F) {
	var key secret
	copy(key.b[:], "0123456789abcdef0123456789abcdef")
	f.Add("acc", printKey("acc", key))
	f.Add(masterHeader, strings.ToLower(printKey(masterHeader, key)))
	f.Add("", "0000-0000")
	f.Fuzz(func(t *testing.T, label, text string) {
		key, err := parseKey(label, text)
		if err != nil {
			return
		}
		plain := strings.NewReplacer("-", "", " ", "", "\t", "", "\r", "", "\n", "", "O", "0", "I", "1", "L", "1")
		if plain.Replace(printKey(label, key)) != plain.Replace(strings.ToUpper(text)) {
			t.Errorf("%q was taken for another key", text)
		}
	})
}

// Whoever can write to a site can change a wrap: only the bytes that were made
// by the key's owner open.
func FuzzUnwrap(f *testing.F) {
	master, account, ring := MasterKey{newSecret()}, NewAccountKey(), NewRing()
	wrapped := account.WrapRing("acc", ring)
	f.Add("acc", wrapped)
	f.Add("acc", wrapped[:28])
	f.Add("other", wrapped)
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, id string, sealed []byte) {
		if _, err := master.UnwrapAccount(id, sealed); err == nil {
			t.Error("a forged account key was taken")
		}
		if _, err := account.UnwrapRing(id, sealed); err == nil && (id != "acc" || !bytes.Equal(sealed, wrapped)) {
			t.Error("a forged ring was taken")
		}
	})
}
