package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/keys"
)

// hostileNames clear a screen in seven and in eight bits, turn the text round, forge
// a line, and hide themselves.
var hostileNames = []string{"\x1b[2Jdisk", "di\u009b2Jsk", "disk\u202e0", "disk0\nok  0 bytes", "disk\u2060\U000e0041", "a b", "\x7f\r\b", "sk\\x1b"}

// harmless fails if a text holds anything that is not plain, but for the ends of so
// many lines.
func harmless(t *testing.T, text string, lines int) {
	t.Helper()
	if bad := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); bad >= 0 || strings.Count(text, "\n") != lines {
		t.Errorf("%d lines: %q", lines, text)
	}
}

// Who has stolen an account's key names images as he likes: no command gives the
// names to a terminal as they are, and each still names one disk.
func TestNamesFromAStolenKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vault")
	st, err := local.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	key, ring := keys.NewAccountKey(), keys.NewRing()
	account := "acct_01m7zw7h1f4ycxnrk1ygc6ekdd"
	v, err := vault.Init(t.Context(), st, vault.Config{Account: account, Ring: ring, WrappedRing: key.WrapRing(account, ring)})
	if err != nil {
		t.Fatal(err)
	}
	forgeBackup(t, v)
	text, err := keys.Kit{Account: account, Key: key}.Text()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kit")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	recovered := func(args ...string) (out, said string, err error) {
		var stdout, stderr bytes.Buffer
		c := root()
		c.SetOut(&stdout)
		c.SetErr(&stderr)
		c.SetArgs(append([]string{"recover", "--vault", dir, "--kit", file, "--backup", "b"}, args...))
		if err = c.ExecuteContext(t.Context()); err != nil {
			said = stderr.String() + printable(userMessage(err))
		}
		return stdout.String(), said, err
	}
	out, _, err := recovered()
	if err != nil {
		t.Fatal(err)
	}
	harmless(t, out, len(hostileNames))
	packs, err := filepath.Glob(filepath.Join(dir, "packs", "s", "d*"))
	if err != nil || len(packs) != 1 || os.Remove(packs[0]) != nil {
		t.Fatalf("packs: %v, %v", packs, err)
	}
	for i, name := range hostileNames {
		output := filepath.Join(t.TempDir(), "disk")
		_, said, err := recovered("--disk", name, "--output", output)
		if exitStatus(err) != exitDamaged {
			t.Errorf("%q: %v", name, err)
		}
		harmless(t, said, 0)
		_, said, err = recovered("--disk", name+"\x1b", "--output", output)
		if exitStatus(err) != exitNotFound {
			t.Errorf("%q: %v", name, err)
		}
		harmless(t, said, 0)
		out, _, _ := recovered("--disk", name, "--output", output, "--partial")
		var lost []loss
		if err := json.Unmarshal([]byte(out), &lost); err != nil || len(lost) != 1 || lost[0].Image != name {
			t.Errorf("%d, %q: %v in %s", i, name, err, out)
		}
		harmless(t, out, strings.Count(out, "\n"))
	}
}

// forgeBackup writes a backup with an image of each name.
func forgeBackup(t *testing.T, v *vault.Vault) {
	t.Helper()
	content := bytes.Repeat([]byte("content "), 1<<12)
	whole := func(yield func(vault.Range, error) bool) { yield(vault.Range{Length: int64(len(content))}, nil) }
	err := v.Write(t.Context(), "s", func(ctx context.Context, s *vault.Session) error {
		m := vault.Manifest{Backup: "b"}
		for _, name := range hostileNames {
			im, err := s.WriteImage(ctx, vault.ImageInput{Name: name, Size: int64(len(content)), Read: bytes.NewReader(content), Ranges: whole})
			if err != nil {
				return err
			}
			m.Images = append(m.Images, im)
		}
		_, err := s.Commit(ctx, m)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
