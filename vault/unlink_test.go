package vault_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/chunk"
	"holdfast/vault/pack"
)

// The same disk of two accounts, as it lies in two directories: no name, no chunk
// id and no run of bytes occurs in both.
func TestEqualDataOfTwoAccountsIsUnlinkable(t *testing.T) {
	disk := randomDisk(newRand(80), 300<<10)
	var shown [2]map[string]bool // names and ids
	var runs [2]map[[16]byte]bool
	for i, account := range []string{"acc-1", "acc-2"} {
		o := newOwner()
		dir := t.TempDir()
		st, err := local.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		c := o.config()
		c.Account, c.WrappedAccount, c.WrappedRing = account, o.master.WrapAccount(account, o.account), o.account.WrapRing(account, o.ring)
		v, err := vault.Init(t.Context(), st, c)
		if err != nil {
			t.Fatal(err)
		}
		mustBackup(t, v, "of-"+account, disk, "", whole(disk))
		shown[i], runs[i] = map[string]bool{}, map[[16]byte]bool{}
		ids := 0
		for name, data := range files(t, dir) {
			if name == "vault.json" || strings.HasPrefix(name, "keys/") {
				continue // in clear: they name the account and nothing else
			}
			shown[i][name] = true
			if strings.HasPrefix(name, pack.Prefix) {
				_, entries, err := pack.ParseTOC(o.ring, name, data, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					shown[i][e.ID.String()] = true
					ids++
				}
			}
			// Beyond the header's fixed 16 bytes and before the trailer.
			for at := 16; at+16 <= len(data)-24; at++ {
				runs[i][[16]byte(data[at:])] = true
			}
		}
		if ids < 20 || len(runs[i]) < 10_000 {
			t.Fatalf("%d chunks in %d bytes: nothing is shown", ids, len(runs[i]))
		}
	}
	for s := range shown[0] {
		if shown[1][s] && s != (chunk.ID{}).String() {
			t.Errorf("%s is in both vaults", s)
		}
	}
	for run := range runs[0] {
		if runs[1][run] {
			t.Fatalf("the bytes %x are in both vaults", run)
		}
	}
}

// files are all files below a directory, by their names in it.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			all[name], err = os.ReadFile(path) // #nosec G122 -- our own directory
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
