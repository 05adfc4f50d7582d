package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// golden are the vaults of every format version there was.
var golden = []string{"v1-collected", "v1-collecting", "v1-lost-segment", "v1-plain", "v1-rotated"}

func goldenDir(name string) string { return filepath.Join("..", "testdata", name) }

func lines(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(string(data), "  ", "="))
}

// everything restores all images of a vault and returns their sums, as
// SHA256SUMS has them.
func everything(t *testing.T, vault, key string) ([]string, error) {
	t.Helper()
	var list bytes.Buffer
	if err := run([]string{vault, key}, &list); err != nil {
		return nil, err
	}
	var sums []string
	for line := range strings.Lines(list.String()) {
		f := strings.Split(line, "\t")
		sum, err := restored(t, vault, key, f[0], f[1])
		if err != nil {
			return nil, err
		}
		sums = append(sums, fmt.Sprintf("%s=%s/%s", sum, f[0], f[1]))
	}
	return sums, nil
}

func restored(t *testing.T, vault, key, backup, image string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	if err := run([]string{vault, key, backup, image, file}, io.Discard); err != nil {
		if _, left := os.Stat(file); left == nil {
			t.Error("a file was left that is not whole")
		}
		return "", err
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if _, err = io.Copy(sum, f); err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Remove(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func TestGolden(t *testing.T) {
	for _, name := range golden {
		dir := goldenDir(name)
		want := slices.Sorted(slices.Values(lines(t, filepath.Join(dir, "SHA256SUMS"))))
		for _, key := range []string{"kit.txt", "master.key"} {
			got, err := everything(t, filepath.Join(dir, "vault"), filepath.Join(dir, key))
			if err != nil {
				t.Errorf("%s by %s: %v", name, key, err)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s by %s:\n%q, want\n%q", name, key, got, want)
			}
		}
		for _, backup := range lines(t, filepath.Join(dir, "gone")) {
			for _, image := range []string{"disk0", "vda"} {
				if _, err := restored(t, filepath.Join(dir, "vault"), filepath.Join(dir, "kit.txt"), backup, image); err == nil {
					t.Errorf("%s: backup %s was restored, and is gone", name, backup)
				}
			}
		}
	}
}

// The keys of another vault, and mistyped ones, are refused.
func TestWrongKeys(t *testing.T) {
	vault := filepath.Join(goldenDir("v1-plain"), "vault")
	kit, err := os.ReadFile(filepath.Join(goldenDir("v1-plain"), "kit.txt"))
	if err != nil {
		t.Fatal(err)
	}
	mistyped := filepath.Join(t.TempDir(), "kit.txt")
	if err := os.WriteFile(mistyped, bytes.Replace(kit, []byte("05EQ"), []byte("05FQ"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{mistyped, filepath.Join(goldenDir("v1-rotated"), "kit.txt"), filepath.Join(goldenDir("v1-rotated"), "master.key"), filepath.Join(vault, "vault.json")} {
		if err := run([]string{vault, key}, io.Discard); err == nil {
			t.Errorf("%s opened the vault", key)
		}
	}
}

// A changed, cut or lost blob is an error, or does not matter; never other bytes.
func TestDamage(t *testing.T) {
	from, work := goldenDir("v1-rotated"), filepath.Join(t.TempDir(), "vault")
	if err := os.CopyFS(work, os.DirFS(filepath.Join(from, "vault"))); err != nil {
		t.Fatal(err)
	}
	right := lines(t, filepath.Join(from, "SHA256SUMS"))
	refused := 0
	try := func(name string, damaged []byte) {
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := everything(t, work, filepath.Join(from, "kit.txt"))
		if err != nil {
			refused++
		}
		for _, g := range got {
			if !slices.Contains(right, g) {
				t.Errorf("%s: wrong bytes were restored: %s", name, g)
			}
		}
	}
	err := filepath.WalkDir(work, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		try(name, data[:len(data)*2/3])
		flipped := bytes.Clone(data)
		for _, at := range []int{0, 5, len(data) / 2, len(data) - 20} {
			flipped[at] ^= 0x11
		}
		try(name, flipped)
		return os.WriteFile(name, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if refused < 10 {
		t.Errorf("%d damages were refused", refused)
	}
}
