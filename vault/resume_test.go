package vault_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
)

var errInjected = fault.ErrInjected

// checkWhole proves every byte of a vault, by a vault opened anew.
func checkWhole(t testing.TB, st blob.Storage, o owner) check.Report {
	t.Helper()
	v, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	r, err := check.Run(t.Context(), v, check.Options{ReadData: true})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK {
		t.Fatalf("check: %+v", r)
	}
	return r
}

// A session killed after some packs is taken up by another process: what was
// sealed is not uploaded again, and the total over both attempts is known.
func TestResumeAdoptsPacks(t *testing.T) {
	inner := mem.New()
	v, o := initVault(t, inner)
	disk := make([]byte, 2<<20)
	r := newRand(5)
	for i := range disk {
		disk[i] = byte(r.Uint32()) // nothing shrinks: 32 chunks and more make the packs
	}
	st := fault.New(inner)
	dying, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	st.AddFault(fault.Put).On("packs/").Skip(20).Forever().ErrorInstead(errInjected)
	if _, err := backup(t.Context(), dying, "b1", disk, "", whole(disk)); !errors.Is(err, errInjected) {
		t.Fatalf("the first attempt: %v", err)
	}
	var adopted, uploaded int64
	err = v.Write(t.Context(), "s-b1", func(ctx context.Context, s *vault.Session) error {
		adopted = s.Adopted()
		im, err := s.WriteImage(ctx, vault.ImageInput{Name: "disk0", Size: int64(len(disk)), Read: bytes.NewReader(disk), Ranges: whole(disk)})
		if err != nil {
			return err
		}
		m, err := s.Commit(ctx, vault.Manifest{Backup: "b1", CreatedAt: time.Now(), Images: []vault.Image{im}})
		uploaded = s.Uploaded()
		if m.Stats.UploadedBytes < adopted+uploaded-4096 || m.Stats.UploadedBytes > adopted+uploaded {
			t.Errorf("manifest says %d, not %d + %d", m.Stats.UploadedBytes, adopted, uploaded)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if adopted < 19*(testPack-2*testChunk) {
		t.Errorf("adopted %d bytes of 20 packs", adopted)
	}
	if total := adopted + uploaded; total > int64(len(disk))*11/10 {
		t.Errorf("%d bytes for a disk of %d: sealed packs were uploaded again", total, len(disk))
	}
	mustRestore(t, v, "b1", disk)
	checkWhole(t, inner, o)
}

func TestCommitAdoptsItsManifest(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := randomDisk(newRand(6), 1<<20)
	first := mustBackup(t, v, "b1", disk, "", whole(disk))
	again, err := backup(t.Context(), v, "b1", randomDisk(newRand(7), 1<<20), "", whole(disk))
	if err != nil {
		t.Fatal(err)
	}
	if !again.CreatedAt.Equal(first.CreatedAt) || again.Images[0].Root != first.Images[0].Root {
		t.Errorf("another manifest than the first: %+v", again)
	}
	mustRestore(t, v, "b1", disk)
	checkWhole(t, st, o)
}

func TestDeletedStaysDeleted(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := randomDisk(newRand(8), 1<<20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	mustBackup(t, v, "b2", disk, "b1", ranges())
	for range 2 {
		if err := v.DeleteBackup(t.Context(), "b1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Manifest(t.Context(), "b1"); !errors.Is(err, vault.ErrNoBackup) {
		t.Errorf("manifest of a deleted backup: %v", err)
	}
	if _, err := backup(t.Context(), v, "b1", disk, "", whole(disk)); !errors.Is(err, vault.ErrDeleted) {
		t.Errorf("a late commit: %v", err)
	}
	if _, err := backup(t.Context(), v, "b3", disk, "b1", ranges()); !errors.Is(err, vault.ErrNoBackup) {
		t.Errorf("a deleted parent: %v", err)
	}
	ids, err := v.Manifests(t.Context())
	if err != nil || strings.Join(ids, " ") != "b2" {
		t.Errorf("backups %v, %v", ids, err)
	}
	mustRestore(t, v, "b2", disk)
	checkWhole(t, st, o)
}

// The deleter comes between a committer's first look and its manifest.
func TestDeleteDuringCommit(t *testing.T) {
	inner := mem.New()
	v, o := initVault(t, inner)
	st := fault.New(inner)
	late, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	st.AddFault(fault.Put).On("backups/").Do(func(fault.Call) {
		if err := v.DeleteBackup(context.WithoutCancel(t.Context()), "b1"); err != nil {
			t.Error(err)
		}
	})
	disk := randomDisk(newRand(9), 1<<20)
	if _, err := backup(t.Context(), late, "b1", disk, "", whole(disk)); !errors.Is(err, vault.ErrDeleted) {
		t.Errorf("commit: %v", err)
	}
	if ids, err := v.Manifests(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("backups %v, %v", ids, err)
	}
}

// A collector's tombstone makes a session's manifest count for nothing, even if
// the manifest was there first.
func TestSessionTombstone(t *testing.T) {
	st := mem.New()
	v, _ := initVault(t, st)
	disk := randomDisk(newRand(10), 1<<20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	mustBackup(t, v, "b2", disk, "", whole(disk))
	if err := st.PutNew(t.Context(), "tombstones/session-s-b1", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Manifest(t.Context(), "b1"); !errors.Is(err, vault.ErrNoBackup) {
		t.Errorf("manifest: %v", err)
	}
	if ids, err := v.Manifests(t.Context()); err != nil || strings.Join(ids, " ") != "b2" {
		t.Errorf("backups %v, %v", ids, err)
	}
	if _, err := backup(t.Context(), v, "b1", disk, "", whole(disk)); !errors.Is(err, vault.ErrSessionLost) {
		t.Errorf("another write in the session: %v", err)
	}
}

// Deleting works on a full storage: the manifest makes room for the tombstone.
func TestDeleteOnFullStorage(t *testing.T) {
	inner := mem.New()
	v, o := initVault(t, inner)
	disk := randomDisk(newRand(11), 1<<20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	st := fault.New(inner)
	full, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	st.AddFault(fault.Put).ErrorInstead(blob.ErrNoSpace)
	if err := full.DeleteBackup(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	if _, err := backup(t.Context(), v, "b1", disk, "", whole(disk)); !errors.Is(err, vault.ErrDeleted) {
		t.Errorf("a late commit: %v", err)
	}
	st.AddFault(fault.Put).Forever().ErrorInstead(blob.ErrNoSpace)
	if err := full.DeleteBackup(t.Context(), "b2"); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("without any room: %v", err)
	}
}

// An abandoned session leaves nothing that counts, and the next collection does
// not wait for it.
func TestAbandon(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := randomDisk(newRand(12), 1<<20)
	err := v.Write(t.Context(), "s1", func(ctx context.Context, s *vault.Session) error {
		_, err := s.WriteImage(ctx, vault.ImageInput{Name: "d", Size: int64(len(disk)), Read: bytes.NewReader(disk), Ranges: whole(disk)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Stat(t.Context(), "sessions/s1"); err != nil {
		t.Errorf("an uncommitted session must stay: %v", err)
	}
	for range 2 {
		if err := v.Abandon(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.Stat(t.Context(), "notices/s1"); err != nil {
		t.Errorf("an abandoned session: %v", err)
	}
	if r := collectAll(t, v, vault.CollectOptions{}); r.Deleted == 0 || len(r.Ended) != 1 {
		t.Errorf("collected %+v", r)
	}
	if left := names(t, st, "sessions/", "notices/", "packs/", "index/"); len(left) != 0 {
		t.Errorf("left of an abandoned session: %v", left)
	}
	if r := checkWhole(t, st, o); r.Backups != 0 {
		t.Errorf("%d backups", r.Backups)
	}
}

func TestIDs(t *testing.T) {
	v, _ := initVault(t, mem.New())
	for _, id := range []string{"", "A", "a/b", "../x", ".x", "a b", strings.Repeat("x", 65)} {
		err := v.Write(t.Context(), id, func(context.Context, *vault.Session) error { return nil })
		_, merr := v.Manifest(t.Context(), id)
		for _, err := range []error{err, merr, v.DeleteBackup(t.Context(), id), v.Abandon(t.Context(), id)} {
			if !errors.Is(err, vault.ErrID) {
				t.Errorf("%q: %v", id, err)
			}
		}
	}
}
