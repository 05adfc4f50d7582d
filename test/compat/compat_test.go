// Package compat_test holds the product and the independent reader to the
// golden vaults and to each other.
package compat_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/check"
	"holdfast/vault/keys"
)

// golden are the vaults of every format version there was, each with the sum of
// all its files: none of them ever changes.
var golden = []struct{ name, sum string }{
	{"v1-collected", "db98455ab3faa5bedf24c8ac1212c8904bd565764d63b4990819fe9f02e82abf"},
	{"v1-collecting", "74c1786bbb61c4c4395ac196bfc6da6e818586ab1fede26c0b800cbc9e84491b"},
	{"v1-lost-segment", "8248bee6c66ae9730bf1a9a038309dd5ed889125b3920178fc604b8e381ec5ca"},
	{"v1-plain", "bcaf89a8be24824a380b4ab933b1a4e70e73b65d83120b9109f3bb4be21b4dda"},
	{"v1-rotated", "bd61a6dc7dce371d1d4f67f30934f2b2c951df2bde040a69f608628a4ab62016"},
}

func TestGoldenNeverChanges(t *testing.T) {
	for _, g := range golden {
		sum, size := sha256.New(), 0
		err := filepath.WalkDir(filepath.Join("testdata", g.name), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(name)
			size += len(data)
			_, _ = fmt.Fprintf(sum, "%s %x\n", filepath.ToSlash(name), sha256.Sum256(data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != g.sum {
			t.Errorf("%s is not what was committed: %s, want %s. Golden vaults are never made again.", g.name, got, g.sum)
		}
		if size > 1<<20 {
			t.Errorf("%s has %d bytes", g.name, size)
		}
	}
	if found, err := filepath.Glob(filepath.Join("testdata", "v*")); err != nil || len(found) != len(golden) {
		t.Errorf("%d golden vaults, %d are in the table (%v)", len(found), len(golden), err)
	}
}

// opened is a copy of a golden vault, so that it may be written to.
type opened struct {
	*vault.Vault

	dir, kit string
	sums     []string // "sum  backup/image", as in SHA256SUMS
	gone     []string
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// open opens a golden vault with the master key, and proves that its kit is
// the same account's.
func open(t *testing.T, name string) opened {
	t.Helper()
	from := filepath.Join("testdata", name)
	o := opened{dir: filepath.Join(t.TempDir(), "vault"), kit: filepath.Join(from, "kit.txt")}
	if err := os.CopyFS(o.dir, os.DirFS(filepath.Join(from, "vault"))); err != nil {
		t.Fatal(err)
	}
	o.sums = strings.Split(strings.TrimSpace(read(t, from, "SHA256SUMS")), "\n")
	o.gone = strings.Fields(read(t, from, "gone"))
	key := filepath.Join(t.TempDir(), "master.key") // a checkout does not keep the mode
	if err := os.WriteFile(key, []byte(read(t, from, "master.key")), 0o600); err != nil {
		t.Fatal(err)
	}
	master, err := keys.LoadMasterKey(key)
	if err != nil {
		t.Fatal(err)
	}
	st, err := local.New(o.dir)
	if err != nil {
		t.Fatal(err)
	}
	kit, err := keys.ParseKit(read(t, o.kit))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vault.OpenWithKit(t.Context(), st, kit); err != nil {
		t.Fatal(err)
	}
	if o.Vault, err = vault.OpenWithMaster(t.Context(), st, master); err != nil {
		t.Fatal(err)
	}
	return o
}

// content reads every image of every backup.
func content(t *testing.T, v *vault.Vault) (sums []string) {
	t.Helper()
	ids, err := v.Manifests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		m, err := v.Manifest(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range m.Images {
			sums = append(sums, fmt.Sprintf("%s  %s/%s", imageSum(t, v, im), id, im.Name))
		}
	}
	return sums
}

func imageSum(t *testing.T, v *vault.Vault, im vault.Image) string {
	t.Helper()
	r, err := v.OpenImage(t.Context(), im)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "image")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err = file.Truncate(im.Size); err == nil {
		err = r.Restore(t.Context(), file, vault.RestoreOptions{})
	}
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return fileSum(t, name)
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The product of today reads what the product of then wrote, goes on from it
// and collects it; and what it wrote then is in the format as the document has it.
func TestGoldenVaultsLiveOn(t *testing.T) {
	reader := buildReader(t)
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			o := open(t, g.name)
			same(t, "restored", content(t, o.Vault), o.sums)
			for _, id := range o.gone {
				if _, err := o.Manifest(t.Context(), id); err == nil {
					t.Errorf("backup %s is there, and is gone", id)
				}
			}
			clean(t, o.Vault)
			want := goOn(t, o)
			collect(t, o)
			same(t, "after a collection", content(t, o.Vault), want)
			clean(t, o.Vault)
			same(t, "by the reader", readBy(t, reader, o.dir, o.kit), want)
		})
	}
}

func clean(t *testing.T, v *vault.Vault) {
	t.Helper()
	report, err := check.Run(t.Context(), v, check.Options{ReadData: true})
	if err != nil || !report.OK {
		t.Errorf("check: %v, %+v", err, report)
	}
}

// goOn writes an incremental of the last backup and deletes the first. It
// returns what the vault holds then.
func goOn(t *testing.T, o opened) []string {
	t.Helper()
	ids, err := o.Manifests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := ids[len(ids)-1]
	m, err := o.Manifest(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	parent := m.Images[len(m.Images)-1]
	r, err := o.OpenImage(t.Context(), parent)
	if err != nil {
		t.Fatal(err)
	}
	disk := make([]byte, parent.Size)
	if _, err := r.ReadAt(disk, 0); err != nil {
		t.Fatal(err)
	}
	at := parent.Size / 2
	n := copy(disk[at:], "and then this was written")
	in := vault.ImageInput{Name: parent.Name, Size: parent.Size, Read: bytes.NewReader(disk), Parent: &vault.Parent{Backup: last, Image: parent.Name},
		Ranges: func(yield func(vault.Range, error) bool) { yield(vault.Range{Offset: at, Length: int64(n)}, nil) }}
	write(t, o.Vault, "next", in)
	if err := o.DeleteBackup(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	left := slices.DeleteFunc(slices.Clone(o.sums), func(s string) bool { return strings.Contains(s, "  "+ids[0]+"/") })
	return append(left, fmt.Sprintf("%x  next/%s", sha256.Sum256(disk), parent.Name))
}

func write(t *testing.T, v *vault.Vault, backup string, in vault.ImageInput) {
	t.Helper()
	err := v.Write(t.Context(), "op-"+backup, func(ctx context.Context, s *vault.Session) error {
		im, err := s.WriteImage(ctx, in)
		if err == nil {
			_, err = s.Commit(ctx, vault.Manifest{Backup: backup, CreatedAt: time.Now(), Images: []vault.Image{im}})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func collect(t *testing.T, o opened) {
	t.Helper()
	// Two, since the first goes on with a plan that is under way.
	for range 2 {
		options := vault.CollectOptions{Sparse: 1, Poll: time.Millisecond, Session: func(string) vault.SessionState { return vault.SessionDead }}
		p, err := o.PlanCollection(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Collect(t.Context(), p, options); err != nil {
			t.Fatal(err)
		}
	}
}
