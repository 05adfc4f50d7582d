package keys

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What key services and secret stores print for a stored key file.
func TestMasterKeyFromACommand(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	want, err := CreateMasterKey(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, printed, _ := strings.Cut(string(text), "\n")
	encoded := base64.StdEncoding.EncodeToString(text)
	for name, argv := range map[string][]string{
		"file":           {"/bin/cat", path},
		"printed form":   {"/bin/echo", strings.TrimSpace(printed)},
		"no line end":    {"/usr/bin/printf", "%s", strings.TrimSpace(string(text))},
		"base64":         {"/bin/echo", encoded},
		"base64 of form": {"/bin/echo", base64.StdEncoding.EncodeToString([]byte(printed))},
		"by environment": {"/bin/sh", "-c", `cat "$KEY"`},
	} {
		got, err := RunMasterKey(t.Context(), argv, []string{"KEY=" + path, "PATH=/usr/bin:/bin"})
		if err != nil || !got.equal(want.secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key service may be down, be wrong, or be somebody else. Nothing that it
// prints may get into an error, for that is logged.
func TestMasterKeyCommandRefused(t *testing.T) {
	secret := strings.TrimSpace(printKey(masterHeader, newSecret()))
	zero := printKey(masterHeader, secret0())
	plain := filepath.Join(t.TempDir(), "kms")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		says string
		argv []string
	}{
		"none":         {"no command", nil},
		"missing":      {"no such file", []string{"/nonexistent/kms"}},
		"not runnable": {"permission denied", []string{plain}},
		"status":       {"exit status 7", []string{"/bin/sh", "-c", "echo " + secret + "; echo " + secret + " >&2; exit 7"}},
		"signal":       {"signal: killed", []string{"/bin/sh", "-c", "kill -9 $$"}},
		"empty":        {"something else", []string{"/bin/true"}},
		"garbage":      {"something else", []string{"/bin/echo", secret + "X"}},
		"zero":         {"something else", []string{"/bin/echo", zero}},
		"mistyped":     {"something else", []string{"/bin/echo", strings.Replace(secret, secret[:4], "0000", 1)}},
		"huge":         {"more than 4096 bytes", []string{"/bin/sh", "-c", "trap '' PIPE; while :; do echo " + secret + "; done"}},
		"slow":         {"did not end within", []string{"/bin/sh", "-c", "echo " + secret + "; sleep 1000 & wait"}},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := runMasterKey(t.Context(), c.argv, []string{"PATH=/usr/bin:/bin"}, 2*time.Second)
			if !errors.Is(err, ErrCommand) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error: %v", err)
			}
			if strings.Contains(err.Error(), secret[5:]) {
				t.Errorf("the error holds what was printed: %v", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RunMasterKey(ctx, []string{"/bin/true"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func secret0() (s secret) { return s }

// Its input is what an operator's tools print.
func FuzzParsePrinted(f *testing.F) {
	f.Add([]byte(masterHeader + "\n" + printKey(masterHeader, newSecret())))
	f.Add([]byte("AAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, ok := parsePrinted(text); ok {
			if again, ok := parsePrinted([]byte(printKey(masterHeader, k.secret))); !ok || !again.equal(k.secret) {
				t.Error("printed and read again: another key")
			}
		}
	})
}
