package vault_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
)

// twin makes an empty copy of a vault in a storage.
func twin(t testing.TB, v *vault.Vault, o owner, st blob.Storage) *vault.Vault {
	t.Helper()
	c := o.config()
	c.ChunkSize, c.PackSize = 0, 0 // the source's count
	to, err := v.InitCopy(t.Context(), st, c)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func copyOf(backup string) string { return "copy-" + backup }

func mustCopy(t testing.TB, from, to *vault.Vault, backup string, bases ...string) vault.Copied {
	t.Helper()
	done, err := from.Copy(t.Context(), to, copyOf(backup), backup, vault.CopyOptions{Bases: bases})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestCopy(t *testing.T) {
	dst := fault.New(mem.New())
	v, o := initVault(t, mem.New())
	to := twin(t, v, o, dst)
	if to.Params() != v.Params() {
		t.Fatalf("parameters %+v, %+v", v.Params(), to.Params())
	}
	r := newRand(90)
	disk := randomDisk(r, 300*testChunk+77)
	m1 := mustBackup(t, v, "b1", disk, "", whole(disk))
	next := clone(disk)
	copy(next[40*testChunk:], noisy(91, 3))
	mustBackup(t, v, "b2", next, "b1", ranges(vault.Range{Offset: 40 * testChunk, Length: 3 * testChunk}))

	var told []int64
	done, err := v.Copy(t.Context(), to, copyOf("b1"), "b1", vault.CopyOptions{Progress: func(done, total, _ int64) {
		if told = append(told, done); total != int64(len(disk)) {
			t.Errorf("%d bytes in all", total)
		}
	}})
	if err != nil || done.There || done.Uploaded == 0 || !slices.IsSorted(told) || len(told) == 0 {
		t.Fatalf("%+v, %v, progress %v", done, err, told)
	}
	// The manifest is the same, but its session is the copy's.
	m1.Session = copyOf("b1")
	if m, err := to.Manifest(t.Context(), "b1"); err != nil || m.Images[0] != m1.Images[0] || m.Session != m1.Session || m.Stats != m1.Stats || !m.CreatedAt.Equal(m1.CreatedAt) {
		t.Errorf("manifest %+v, %v instead of %+v", m, err, m1)
	}
	mustRestore(t, to, "b1", disk)
	if done = mustCopy(t, v, to, "b1"); !done.There {
		t.Errorf("again: %+v", done)
	}
	// Only what differs is moved, whether or not a base is named.
	calls := len(dst.Calls())
	done = mustCopy(t, v, to, "b2", "unknown", "b1")
	if done.Uploaded > 8*testChunk {
		t.Errorf("%d bytes for three chunks", done.Uploaded)
	}
	with := len(dst.Calls()) - calls
	if without := mustCopy(t, v, twinOf(t, v, o, "b1"), "b2"); without.Uploaded > 8*testChunk {
		t.Errorf("%d bytes for three chunks without a base", without.Uploaded)
	}
	if with > 40 {
		t.Errorf("%d calls for three chunks", with)
	}
	mustRestore(t, to, "b2", next)
	checkOK(t, to)
	if left := names(t, dst, "sessions/"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// No pack keeps its name: one that a collection has deleted must never come back.
	for _, name := range names(t, dst, "packs/", "index/") {
		if !strings.Contains(name, "/copy-") {
			t.Errorf("%s is not the copy's own", name)
		}
	}
	opened, err := vault.OpenWithMaster(t.Context(), dst, o.master)
	if err != nil {
		t.Fatal(err)
	}
	mustRestore(t, opened, "b2", next)
}

// twinOf is a copy that holds some of the backups.
func twinOf(t testing.TB, v *vault.Vault, o owner, backups ...string) *vault.Vault {
	t.Helper()
	to := twin(t, v, o, mem.New())
	for _, b := range backups {
		mustCopy(t, v, to, b)
	}
	return to
}

// Chunks that the target has in other packs, after a collection there, are not
// moved again; and those it has lost are.
func TestCopyAfterRewrite(t *testing.T) {
	v, o := initVault(t, mem.New())
	dst := mem.New()
	to := twin(t, v, o, dst)
	first := noisy(92, 200)
	mustBackup(t, v, "b1", first, "", whole(first))
	part := first[:50*testChunk]
	mustBackup(t, v, "b2", part, "", whole(part))
	mustCopy(t, v, to, "b1")
	mustCopy(t, v, to, "b2")
	if err := to.DeleteBackup(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	if sum := collectAll(t, to, atOnce); sum.Copied == 0 || sum.Deleted == 0 {
		t.Fatalf("nothing was rewritten: %+v", sum)
	}
	if _, err := v.Copy(t.Context(), to, copyOf("b1"), "b1", vault.CopyOptions{}); !errors.Is(err, vault.ErrDeleted) {
		t.Fatalf("a deleted backup was copied back: %v", err)
	}
	both := slices.Concat(first[:50*testChunk], noisy(93, 20))
	mustBackup(t, v, "b3", both, "", whole(both))
	if done := mustCopy(t, v, to, "b3"); done.Uploaded > 30*testChunk {
		t.Errorf("%d bytes for 20 chunks", done.Uploaded)
	}
	all := slices.Concat(first, both)
	mustBackup(t, v, "b4", all, "", whole(all))
	if done := mustCopy(t, v, to, "b4"); done.Uploaded < 100*testChunk {
		t.Errorf("%d bytes for about 150 chunks that are gone", done.Uploaded)
	}
	collectAll(t, to, atOnce)
	mustRestore(t, to, "b2", part)
	mustRestore(t, to, "b3", both)
	mustRestore(t, to, "b4", all)
	checkOK(t, to)
}

// While a plan stands, what it condemns is as if it were not there, and a copy
// needs not wait for it.
func TestCopyWhileAPlanStands(t *testing.T) {
	v, o := initVault(t, mem.New())
	dst := mem.New()
	to := twin(t, v, o, dst)
	disk := noisy(94, 100)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	mustCopy(t, v, to, "b1")
	if err := to.DeleteBackup(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	// A session that goes on keeps the collection waiting.
	err := to.Write(t.Context(), "s-slow", func(context.Context, *vault.Session) error {
		p, err := to.PlanCollection(t.Context(), vault.CollectOptions{})
		if err != nil || len(p.Condemned) == 0 {
			t.Fatalf("%v, %v", p, err)
		}
		var waiting *vault.WaitingError
		if _, err := to.Collect(t.Context(), p, vault.CollectOptions{Wait: time.Nanosecond}); !errors.As(err, &waiting) {
			t.Fatalf("the collection did not wait: %v", err)
		}
		mustBackup(t, v, "b2", disk, "", whole(disk))
		if done := mustCopy(t, v, to, "b2"); done.Uploaded < int64(len(disk)) {
			t.Errorf("%d bytes, so condemned packs were relied on", done.Uploaded)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	collectAll(t, to, atOnce)
	mustRestore(t, to, "b2", disk)
	checkOK(t, to)
}

// What is damaged at the source is not spread, and named.
func TestCopyOfDamage(t *testing.T) {
	src := mem.New()
	v, o := initVault(t, src)
	disk := noisy(95, 60)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	for _, class := range []string{"d", "m"} {
		hurt := src.Clone()
		for _, name := range names(t, hurt, "packs/s-b1/"+class) {
			hurt.Tamper(name, func(p []byte) []byte { p[1000] ^= 1; return p })
		}
		from, err := vault.Open(t.Context(), hurt, o.ring)
		if err != nil {
			t.Fatal(err)
		}
		dst := mem.New()
		to := twin(t, v, o, dst)
		_, err = from.Copy(t.Context(), to, copyOf("b1"), "b1", vault.CopyOptions{})
		var d *vault.DamagedError
		if !errors.As(err, &d) || d.Image != "disk0" {
			t.Fatalf("class %s: %v", class, err)
		}
		if left := names(t, dst, "backups/"); len(left) > 0 {
			t.Errorf("class %s: a damaged backup was completed: %v", class, left)
		}
		// Once it is healed, the same session goes on.
		if done, err := v.Copy(t.Context(), to, copyOf("b1"), "b1", vault.CopyOptions{}); err != nil || done.There {
			t.Fatalf("class %s: %+v, %v", class, done, err)
		}
		mustRestore(t, to, "b1", disk)
		checkOK(t, to)
	}
}

func TestCopyRefusals(t *testing.T) {
	v, o := initVault(t, mem.New())
	disk := noisy(96, 10)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	other, _ := initVault(t, mem.New())
	if _, err := v.Copy(t.Context(), other, "c", "b1", vault.CopyOptions{}); !errors.Is(err, vault.ErrNotACopy) {
		t.Errorf("another account's vault: %v", err)
	}
	c := o.config()
	c.ChunkSize *= 2
	wide, err := vault.Init(t.Context(), mem.New(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Copy(t.Context(), wide, "c", "b1", vault.CopyOptions{}); !errors.Is(err, vault.ErrNotACopy) {
		t.Errorf("another chunk size: %v", err)
	}
	to := twin(t, v, o, mem.New())
	for session, backup := range map[string]string{"../x": "b1", "c": "b7", "collect-1": "b1"} {
		_, err := v.Copy(t.Context(), to, session, backup, vault.CopyOptions{})
		if !errors.Is(err, vault.ErrID) && !errors.Is(err, vault.ErrNoBackup) {
			t.Errorf("%s, %s: %v", session, backup, err)
		}
	}
	dst := mem.New()
	twin(t, v, o, dst)
	if _, err := v.InitCopy(t.Context(), dst, o.config()); !errors.Is(err, blob.ErrExists) {
		t.Errorf("a vault that is there: %v", err)
	}
	if _, err := v.InitCopy(t.Context(), mem.New(), newOwner().config()); !errors.Is(err, vault.ErrNotACopy) {
		t.Errorf("another account's ring: %v", err)
	}
}

// A backup that is deleted while it is copied ends the copy, at whichever place
// it is deleted first.
func TestDeletedWhileCopied(t *testing.T) {
	disk := noisy(97, 100)
	for _, where := range []string{"source", "target"} {
		src, dst := fault.New(mem.New()), fault.New(mem.New())
		v, o := initVault(t, src)
		to := twin(t, v, o, dst)
		mustBackup(t, v, "b1", disk, "", whole(disk))
		at, want := v, vault.ErrNoBackup
		if where == "target" {
			at, want = to, vault.ErrDeleted
		}
		dst.AddFault(fault.Put).On("packs/").Skip(1).Do(func(fault.Call) {
			if err := at.DeleteBackup(t.Context(), "b1"); err != nil {
				t.Error(err)
			}
			if where == "source" {
				collectAll(t, v, atOnce)
			}
		})
		if _, err := v.Copy(t.Context(), to, copyOf("b1"), "b1", vault.CopyOptions{}); !errors.Is(err, want) || vault.IsDamage(err) {
			t.Errorf("deleted at the %s: %v", where, err)
		}
		if ids, err := to.Manifests(t.Context()); err != nil || len(ids) > 0 {
			t.Errorf("deleted at the %s: %v, %v", where, ids, err)
		}
	}
}

// A copy that was stopped goes on where it was.
func TestCopyResumes(t *testing.T) {
	v, o := initVault(t, mem.New())
	disk := noisy(98, 400)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	dst := fault.New(mem.New())
	to := twin(t, v, o, dst)
	for range 3 {
		dst.AddFault(fault.Put).On("packs/").Skip(6).ErrorInstead(errInjected)
		if _, err := v.Copy(t.Context(), to, copyOf("b1"), "b1", vault.CopyOptions{}); !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
	}
	done := mustCopy(t, v, to, "b1")
	if done.Adopted < 15*testPack || done.Adopted+done.Uploaded > int64(len(disk))*11/10 {
		t.Errorf("%d bytes adopted, %d uploaded for %d", done.Adopted, done.Uploaded, len(disk))
	}
	mustRestore(t, to, "b1", disk)
	checkOK(t, to)
}

// BenchmarkCopy moves a disk of the default chunk size that does not compress, so
// that it shows what the proving and sealing cost.
func BenchmarkCopy(b *testing.B) {
	o := newOwner()
	c := o.config()
	c.ChunkSize, c.PackSize = 0, 0
	v, err := vault.Init(b.Context(), mem.New(), c)
	if err != nil {
		b.Fatal(err)
	}
	disk := noisy(99, 128<<20/testChunk)
	mustBackup(b, v, "b1", disk, "", whole(disk))
	b.SetBytes(int64(len(disk)))
	for b.Loop() {
		mustCopy(b, v, twin(b, v, o, mem.New()), "b1")
	}
}
