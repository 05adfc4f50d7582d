package compat_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/keys"
)

// What is written today is what the document says: the reader, which was
// written from that alone, restores it; by the index, and by the packs alone.
func TestReaderReadsToday(t *testing.T) {
	reader, dir, kit := buildReader(t), filepath.Join(t.TempDir(), "vault"), filepath.Join(t.TempDir(), "kit.txt")
	v := fresh(t, dir, kit)
	disk := make([]byte, 3<<20+777) // more than 256 chunks, several packs and blocks
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(disk[:2<<20])
	copy(disk[5<<19:], bytes.Repeat([]byte("what compresses well "), 20_000))
	write(t, v, "b1", vault.ImageInput{Name: "disk0", Size: int64(len(disk)), Read: bytes.NewReader(disk),
		Ranges: func(yield func(vault.Range, error) bool) { yield(vault.Range{Length: int64(len(disk))}, nil) }})
	want := []string{fmt.Sprintf("%x  b1/disk0", sha256.Sum256(disk))}
	same(t, "by the index", readBy(t, reader, dir, kit), want)
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	same(t, "by the packs", readBy(t, reader, dir, kit), want)
}

// fresh makes a vault as a service does, and writes its kit to a file.
func fresh(t *testing.T, dir, kit string) *vault.Vault {
	t.Helper()
	st, err := local.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	master, account, ring := keys.NewMasterKey(), keys.NewAccountKey(), keys.NewRing()
	v, err := vault.Init(t.Context(), st, vault.Config{
		Account: "acc-1", Ring: ring, WrappedAccount: master.WrapAccount("acc-1", account), MasterCheck: master.Check(),
		WrappedRing: account.WrapRing("acc-1", ring), ChunkSize: 4 << 10, PackSize: 256 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.Kit{Account: "acc-1", Key: account}.Text()
	if err == nil {
		err = os.WriteFile(kit, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// buildReader builds the independent reader, as anyone would.
func buildReader(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "reader")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "./reader").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// readBy restores everything in a vault with the independent reader.
func readBy(t *testing.T, reader, dir, kit string) (sums []string) {
	t.Helper()
	run := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), reader, append([]string{dir, kit}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("reader %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for line := range strings.Lines(run()) {
		f := strings.Split(line, "\t")
		if len(f) != 3 {
			t.Fatalf("the reader says %q", line)
		}
		image := filepath.Join(t.TempDir(), "image")
		if out := run(f[0], f[1], image); out != "" {
			t.Errorf("the reader says %s", out)
		}
		sums = append(sums, fmt.Sprintf("%s  %s/%s", fileSum(t, image), f[0], f[1]))
	}
	return sums
}

func fileSum(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	if err = errors.Join(err, file.Close(), os.Remove(name)); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
