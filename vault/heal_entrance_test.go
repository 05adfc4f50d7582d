package vault_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/mem"
	"holdfast/vault/keys"
)

func unlockBy(o owner) func(context.Context, blob.Storage) (keys.Ring, error) {
	return func(ctx context.Context, st blob.Storage) (keys.Ring, error) {
		_, _, ring, err := vault.Unlock(ctx, st, o.master)
		return ring, err
	}
}

// Whoever holds the site may have damaged, removed or exchanged what a vault is
// opened by. It is put back from the account's other vault, and another account's
// is left alone.
func TestHealEntrance(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(1, 20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	far := st.Clone()
	for _, name := range []string{"vault.json", "keys/account-00000001", "keys/ring-00000001"} {
		for what, change := range map[string]func([]byte) []byte{
			"gone": func([]byte) []byte { return nil }, "cut": func(p []byte) []byte { return p[:len(p)/2] },
			"changed": func(p []byte) []byte { return bytes.Replace(p, []byte(`": "`), []byte(`": "0`), 1)[:len(p)-3] },
		} {
			hurt := st.Clone()
			hurt.Tamper(name, change)
			healed, err := vault.HealEntrance(t.Context(), hurt, far, unlockBy(o))
			if err != nil || len(healed) == 0 {
				t.Fatalf("%s %s: %v, %v", name, what, healed, err)
			}
			again, err := vault.OpenWithMaster(t.Context(), hurt, o.master)
			if err != nil {
				t.Fatalf("%s %s: %v", name, what, err)
			}
			mustRestore(t, again, "b1", disk)
			if healed, err := vault.HealEntrance(t.Context(), hurt, far, unlockBy(o)); err != nil || len(healed) > 0 {
				t.Errorf("%s %s, the second time: %v, %v", name, what, healed, err)
			}
		}
	}

	theirs := mem.New()
	w, _ := initVault(t, theirs)
	mustBackup(t, w, "b1", disk, "", whole(disk))
	before := names(t, theirs, "")
	if _, err := vault.HealEntrance(t.Context(), theirs, far, unlockBy(o)); !errors.Is(err, vault.ErrForeign) {
		t.Errorf("another account's vault: %v", err)
	}
	if after := names(t, theirs, ""); !slices.Equal(after, before) {
		t.Errorf("it was changed: %v", after)
	}
	far.Tamper("vault.json", func(p []byte) []byte {
		return bytes.Replace(p, []byte(`"chunkSize": 4096`), []byte(`"chunkSize": 8192`), 1)
	})
	st.Tamper("vault.json", func([]byte) []byte { return nil })
	if _, err := vault.HealEntrance(t.Context(), st, far, unlockBy(o)); !errors.Is(err, vault.ErrFormat) {
		t.Errorf("forged parameters at the source: %v", err)
	}
}
