package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/keys"
)

func rotate(t testing.TB, r keys.Ring) keys.Ring {
	t.Helper()
	next, err := r.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// follow opens the vault as a service does: it reads the ring from the storage,
// and knows from elsewhere how far it has come.
func follow(t testing.TB, st blob.Storage, o owner, floor *uint32) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	v.Follow(func(ctx context.Context) (keys.Ring, uint32, error) {
		ring, _, err := vault.ReadRing(ctx, st, "acc-1", o.account)
		return ring, *floor, err
	})
	return v
}

// bytesOf are all blobs but the keys.
func bytesOf(t *testing.T, st *mem.Storage) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, name := range packsOf(t, st, "") {
		if strings.HasPrefix(name, "keys/") {
			continue
		}
		data, err := st.Get(t.Context(), name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = data
	}
	return all
}

// A data key is rotated while a reader and a writer have the vault open: both go
// on, both learn it, and nothing that was there is rewritten.
func TestRotateDataKey(t *testing.T) {
	st := mem.New()
	made, o := initVault(t, st)
	first := randomDisk(newRand(70), 1<<20)
	mustBackup(t, made, "b1", first, "", whole(first))
	var floor uint32
	reader, writer, deaf := follow(t, st, o, &floor), follow(t, st, o, &floor), made
	mustRestore(t, reader, "b1", first)
	before := bytesOf(t, st)

	next := o
	next.ring = rotate(t, o.ring)
	second := noisy(71, 100)
	err := writer.Write(t.Context(), "s-b2", func(ctx context.Context, s *vault.Session) error {
		// The rotation comes in the middle of a session, which goes on as it began.
		if err := vault.PutRing(ctx, st, "acc-1", o.account, next.ring); err != nil {
			return err
		}
		if removed, err := vault.RetireRings(ctx, st, "acc-1", o.account, next.ring); err != nil || len(removed) != 1 {
			return fmt.Errorf("retired %v: %w", removed, err)
		}
		floor = 2
		im, err := s.WriteImage(ctx, vault.ImageInput{Name: "disk0", Size: int64(len(second)), Point: "p", Read: bytes.NewReader(second), Ranges: whole(second)})
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: "b2", Images: []vault.Image{im}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	third := noisy(72, 100)
	mustBackup(t, writer, "b3", third, "", whole(third))
	for name, epoch := range map[string]byte{"backups/b1": 1, "backups/b2": 1, "backups/b3": 2} {
		data, err := st.Get(t.Context(), name, 1<<20)
		if err != nil || data[8] != epoch {
			t.Errorf("%s is of epoch %d: %v", name, data[8], err)
		}
	}
	mustRestore(t, reader, "b2", second)
	mustRestore(t, reader, "b3", third)
	mustRestore(t, reader, "b1", first)
	if _, err := deaf.Manifest(t.Context(), "b3"); !errors.Is(err, keys.ErrEpoch) {
		t.Errorf("a vault that does not follow reads b3: %v", err)
	}
	after := bytesOf(t, st)
	for name, data := range before {
		if !bytes.Equal(after[name], data) {
			t.Errorf("%s was rewritten", name)
		}
	}
}

// Whoever holds the storage puts back the ring of before a rotation. What is open
// does not go back; what is opened then reads what it can, and writes nothing.
func TestRingRolledBack(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(73, 50)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	old, err := st.Get(t.Context(), "keys/ring-00000001", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	next := o
	next.ring = rotate(t, o.ring)
	if err := vault.PutRing(t.Context(), st, "acc-1", o.account, next.ring); err != nil {
		t.Fatal(err)
	}
	floor := uint32(2)
	open := follow(t, st, next, &floor)
	mustBackup(t, open, "b2", disk, "", whole(disk))

	// Under a new number, beside the newest: nobody takes it.
	if err := st.PutNew(t.Context(), "keys/ring-00000009", old); err != nil {
		t.Fatal(err)
	}
	if ring, _, err := vault.ReadRing(t.Context(), st, "acc-1", o.account); err != nil || ring.Current() != 2 {
		t.Fatalf("ring of epoch %d: %v", ring.Current(), err)
	}
	// In its place.
	if err := st.Delete(t.Context(), "keys/ring-00000002"); err != nil {
		t.Fatal(err)
	}
	before := slices.Sorted(maps.Keys(bytesOf(t, st)))
	for name, stale := range map[string]*vault.Vault{"open": open, "opened then": follow(t, st, o, &floor)} {
		if _, err := backup(t.Context(), stale, "b3", disk, "", whole(disk)); !errors.Is(err, vault.ErrStaleRing) {
			t.Errorf("%s: a backup: %v", name, err)
		}
		p, err := stale.PlanCollection(t.Context(), vault.CollectOptions{})
		if err == nil {
			p.Condemned = append(p.Condemned, vault.Condemned{Name: "packs/s-b1/d0"})
			_, err = stale.Collect(t.Context(), p, vault.CollectOptions{})
		}
		if name == "open" && !errors.Is(err, vault.ErrStaleRing) || err == nil {
			t.Errorf("%s: a collection: %v", name, err)
		}
		mustRestore(t, stale, "b1", disk)
	}
	mustRestore(t, open, "b2", disk) // it has not forgotten the key
	if after := slices.Sorted(maps.Keys(bytesOf(t, st))); !slices.Equal(before, after) {
		t.Errorf("something was written or deleted: %v", after)
	}
}

// A ring forged by the holder of an old account key is not followed.
func TestForgedRingIsNotFollowed(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(74, 20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	var floor uint32
	open := follow(t, st, o, &floor)
	forged := rotate(t, keys.NewRing())
	if err := vault.PutRing(t.Context(), st, "acc-1", o.account, forged); err != nil {
		t.Fatal(err)
	}
	if _, err := backup(t.Context(), open, "b2", disk, "", whole(disk)); !errors.Is(err, vault.ErrStaleRing) {
		t.Errorf("a backup: %v", err)
	}
	mustRestore(t, open, "b1", disk)
}

// A kit opens nothing new once the ring is wrapped by another account key and the
// old wrap is gone; the data lies as it lay.
func TestRotateAccountAndMasterKey(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(75, 50)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	before := bytesOf(t, st)
	next := owner{keys.NewMasterKey(), keys.NewAccountKey(), o.ring}
	opens := func(o owner) (byKit, byMaster error) {
		_, byKit = vault.OpenWithKit(t.Context(), st, keys.Kit{Account: "acc-1", Key: o.account})
		_, byMaster = vault.OpenWithMaster(t.Context(), st, o.master)
		return byKit, byMaster
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(vault.PutAccountKey(t.Context(), st, "acc-1", o.master, next.account))
	must(vault.PutRing(t.Context(), st, "acc-1", next.account, o.ring))
	must(vault.PutAccountKey(t.Context(), st, "acc-1", next.master, next.account))
	for _, who := range []owner{o, next} { // meanwhile both open
		if byKit, byMaster := opens(who); byKit != nil || byMaster != nil {
			t.Fatalf("in between: kit: %v, master: %v", byKit, byMaster)
		}
	}
	if _, err := vault.RetireRings(t.Context(), st, "acc-1", keys.NewAccountKey(), o.ring); !errors.Is(err, keys.ErrWrongKey) {
		t.Fatalf("retired for a key that opens nothing: %v", err)
	}
	_, err := vault.RetireRings(t.Context(), st, "acc-1", next.account, o.ring)
	must(err)
	_, err = vault.RetireAccountKeys(t.Context(), st, "acc-1", next.master, next.account)
	must(err)
	if byKit, byMaster := opens(o); !errors.Is(byKit, keys.ErrWrongKey) || !errors.Is(byMaster, keys.ErrWrongKey) {
		t.Errorf("the old keys: kit: %v, master: %v", byKit, byMaster)
	}
	if byKit, byMaster := opens(next); byKit != nil || byMaster != nil {
		t.Errorf("the new keys: kit: %v, master: %v", byKit, byMaster)
	}
	if !maps.EqualFunc(before, bytesOf(t, st), bytes.Equal) {
		t.Error("data was rewritten")
	}
	if left := packsOf(t, st, "keys/"); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

// Every storage call of a rotation fails in every way: the vault opens with the
// old keys or with the new, and the rotation, done again, ends.
func TestRotationFaultAtEveryCall(t *testing.T) {
	base := mem.New()
	v, o := initVault(t, base)
	disk := noisy(76, 5)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	next := owner{keys.NewMasterKey(), keys.NewAccountKey(), rotate(t, o.ring)}
	change := func(st blob.Storage) error {
		ctx := t.Context()
		if err := vault.PutRing(ctx, st, "acc-1", next.account, next.ring); err != nil {
			return err
		}
		if err := vault.PutAccountKey(ctx, st, "acc-1", next.master, next.account); err != nil {
			return err
		}
		if _, err := vault.RetireRings(ctx, st, "acc-1", next.account, next.ring); err != nil {
			return err
		}
		_, err := vault.RetireAccountKeys(ctx, st, "acc-1", next.master, next.account)
		return err
	}
	for _, f := range fault.Failures {
		failed := 0
		for call := 1; ; call++ {
			inner := base.Clone()
			st := fault.New(inner)
			f.Arm(st, call)
			err := change(st)
			hit := len(st.Calls()) >= call
			if err != nil {
				failed++
			}
			ring, _, rerr := vault.ReadRing(t.Context(), inner, "acc-1", next.account, o.account)
			if rerr != nil || err == nil && ring.Current() != 2 {
				t.Fatalf("%s at call %d: the ring is of epoch %d: %v", f.Name, call, ring.Current(), rerr)
			}
			if err := change(inner); err != nil {
				t.Fatalf("%s at call %d, again: %v", f.Name, call, err)
			}
			if v, err := vault.OpenWithMaster(t.Context(), inner, next.master); err != nil {
				t.Fatalf("%s at call %d: %v", f.Name, call, err)
			} else {
				mustRestore(t, v, "b1", disk)
			}
			if left := packsOf(t, inner, "keys/"); len(left) != 2 {
				t.Fatalf("%s at call %d: left %v", f.Name, call, left)
			}
			if !hit {
				break
			}
		}
		if failed == 0 {
			t.Errorf("%s: no call failed", f.Name)
		}
	}
}

// Whoever can write to the storage puts any key blobs; an account key he has not.
func TestHostileKeyBlobs(t *testing.T) {
	base := mem.New()
	v, o := initVault(t, base)
	disk := noisy(77, 5)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	for name, plant := range map[string]map[string][]byte{
		"junk":        {"keys/ring-00000007": []byte("{"), "keys/account-00000007": []byte(`{"format":1,"account":"acc-1","wrapped":"AQ=="}`)},
		"other names": {"keys/ring-9": nil, "keys/ring-000000001": nil, "keys/ring-00000000": nil, "keys/ring-99999999999": nil, "keys/ring-x": nil, "keys/ring-00000002/x": nil},
		"too large":   {"keys/ring-00000008": make([]byte, 2<<20)},
		"newer":       {"keys/ring-00000003": []byte(`{"format":2}`)},
		"another's":   {"keys/ring-00000004": fmt.Appendf(nil, `{"format":1,"account":"acc-1","wrapped":%q}`, strings.Repeat("QUJD", 60))},
	} {
		st := base.Clone()
		for blobName, data := range plant {
			if err := st.PutNew(t.Context(), blobName, data); err != nil {
				t.Fatal(err)
			}
		}
		opened, err := vault.OpenWithMaster(t.Context(), st, o.master)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		mustRestore(t, opened, "b1", disk)
		next := rotate(t, o.ring)
		if err := vault.PutRing(t.Context(), st, "acc-1", o.account, next); err != nil {
			t.Errorf("%s: rotate: %v", name, err)
		}
		if _, err := vault.RetireRings(t.Context(), st, "acc-1", o.account, next); err != nil {
			t.Errorf("%s: retire: %v", name, err)
		}
		if left := packsOf(t, st, "keys/ring-"); len(left) != 1 {
			t.Errorf("%s: left %v", name, left)
		}
	}

	// The numbers are used up: that is said, and the vault opens as before.
	st := base.Clone()
	if err := st.PutNew(t.Context(), "keys/ring-99999999", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := vault.PutRing(t.Context(), st, "acc-1", o.account, rotate(t, o.ring)); err == nil || !strings.Contains(err.Error(), "used up") {
		t.Errorf("no number is left: %v", err)
	}
	if _, err := vault.OpenWithMaster(t.Context(), st, o.master); err != nil {
		t.Error(err)
	}

	// A newest ring that does not answer is not replaced by an older one.
	st = base.Clone()
	if err := vault.PutRing(t.Context(), st, "acc-1", o.account, rotate(t, o.ring)); err != nil {
		t.Fatal(err)
	}
	slow := fault.New(st)
	slow.AddFault(fault.Get).On("keys/ring-00000002").ErrorInstead(errInjected)
	if _, _, err := vault.ReadRing(t.Context(), slow, "acc-1", o.account); !errors.Is(err, errInjected) {
		t.Errorf("an older ring was taken: %v", err)
	}
}

// Without its key blobs nothing opens a vault; a copy of them that was kept
// elsewhere still does, with a kit or with the master key, and that is what a
// certificate has to name.
func TestDropKeys(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(78, 5)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	kept := st.Clone()
	before := bytesOf(t, st)
	if n, err := vault.DropKeys(t.Context(), fault.New(st)); err != nil || n != 2 {
		t.Fatalf("dropped %d: %v", n, err)
	}
	kit := keys.Kit{Account: "acc-1", Key: o.account}
	if _, err := vault.OpenWithKit(t.Context(), st, kit); !errors.Is(err, vault.ErrNoVault) {
		t.Errorf("with the kit: %v", err)
	}
	if _, err := vault.OpenWithMaster(t.Context(), st, o.master); !errors.Is(err, vault.ErrNoVault) {
		t.Errorf("with the master key: %v", err)
	}
	if !maps.EqualFunc(before, bytesOf(t, st), bytes.Equal) {
		t.Error("data was touched")
	}
	ring, err := kept.Get(t.Context(), "keys/ring-00000001", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.PutNew(t.Context(), "keys/ring-00000001", ring); err != nil {
		t.Fatal(err)
	}
	again, err := vault.OpenWithKit(t.Context(), st, kit)
	if err != nil {
		t.Fatal(err)
	}
	mustRestore(t, again, "b1", disk)
}
