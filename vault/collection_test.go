package vault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
)

// atOnce ends every session that is older than the plan without waiting.
var atOnce = vault.CollectOptions{Idle: time.Nanosecond}

// collectAll plans and collects until nothing more goes.
func collectAll(t testing.TB, v *vault.Vault, o vault.CollectOptions) (sum vault.Collected) {
	t.Helper()
	var p *vault.CollectionPlan
	var err error
	for range 10 {
		if p, err = v.PlanCollection(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if p.Empty() {
			return sum
		}
		r, err := v.Collect(t.Context(), p, o)
		if err != nil {
			t.Fatal(err)
		}
		sum.Deleted += r.Deleted
		sum.Bytes += r.Bytes
		sum.Copied += r.Copied
		sum.Segments += r.Segments
		sum.Spared += r.Spared
		sum.Ended = append(sum.Ended, r.Ended...)
	}
	t.Fatalf("collections do not come to an end: %v%+v", p, sum)
	return sum
}

func names(t testing.TB, st blob.Storage, prefixes ...string) []string {
	t.Helper()
	var all []string
	for _, prefix := range prefixes {
		for info, err := range st.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, info.Name)
		}
	}
	return all
}

func size(t testing.TB, st blob.Storage) (n int64) {
	t.Helper()
	for info, err := range st.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size
	}
	return n
}

func checkOK(t testing.TB, v *vault.Vault) check.Report {
	t.Helper()
	r, err := check.Run(t.Context(), v, check.Options{ReadData: true})
	if err != nil || !r.OK {
		t.Fatalf("check: %v, %+v", err, r)
	}
	return r
}

// Deleting a backup frees its space with the next collection, and nothing else.
func TestCollectFreesDeleted(t *testing.T) {
	st := mem.New()
	v, _ := initVault(t, st)
	r := newRand(1)
	disk := randomDisk(r, 4<<20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	one := size(t, st)
	other := randomDisk(r, 4<<20)
	mustBackup(t, v, "b2", other, "", whole(other))
	if p, err := v.PlanCollection(t.Context(), vault.CollectOptions{}); err != nil || !p.Empty() {
		t.Fatalf("a plan for a vault without garbage: %+v, %v", p, err)
	}
	if err := v.DeleteBackup(t.Context(), "b2"); err != nil {
		t.Fatal(err)
	}
	p, err := v.PlanCollection(t.Context(), vault.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil || !strings.Contains(string(text), `"condemned":[{"name":"packs/s-b2/`) || !strings.Contains(p.String(), "freed") {
		t.Errorf("plan %s, %v\n%s", text, err, p)
	}
	before := size(t, st)
	done, err := v.Collect(t.Context(), p, vault.CollectOptions{})
	if err != nil || done.Spared != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if freed := before - size(t, st); freed < p.Frees()*95/100 {
		t.Errorf("freed %d bytes of %d planned", freed, p.Frees())
	}
	if now := size(t, st); now > one+one/20 {
		t.Errorf("%d bytes are left of a vault that was %d before the deleted backup", now, one)
	}
	mustRestore(t, v, "b1", disk)
	if r := checkOK(t, v); r.Backups != 1 {
		t.Errorf("%d backups", r.Backups)
	}
	if p, err = v.PlanCollection(t.Context(), vault.CollectOptions{}); err != nil || !p.Empty() {
		t.Errorf("a second plan: %+v, %v", p, err)
	}
}

// Sparse packs are rewritten: many incrementals with most of them deleted do not
// keep what only the deleted ones needed.
func TestCollectRewritesSparse(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	r := newRand(2)
	disk := noisy(3, 512)
	mustBackup(t, v, "b0", disk, "", whole(disk))
	for i := range 40 {
		off := r.IntN(len(disk)/testChunk) * testChunk
		n := min(8*testChunk, len(disk)-off)
		for j := range n {
			disk[off+j] = byte(r.Uint32())
		}
		id, parent := fmt.Sprintf("b%d", i+1), fmt.Sprintf("b%d", i)
		mustBackup(t, v, id, disk, parent, ranges(vault.Range{Offset: int64(off), Length: int64(n)}))
		if err := v.DeleteBackup(t.Context(), parent); err != nil {
			t.Fatal(err)
		}
	}
	segments := len(names(t, st, "index/"))
	sum := collectAll(t, v, vault.CollectOptions{})
	last := "b40"
	mustRestore(t, v, last, disk)
	fresh, err := vault.OpenWithMaster(t.Context(), st, o.master)
	if err != nil {
		t.Fatal(err)
	}
	mustRestore(t, fresh, last, disk)
	checkOK(t, fresh)
	if now := size(t, st); now > int64(len(disk))*16/10 {
		t.Errorf("%d bytes for a disk of %d, %+v", now, len(disk), sum)
	}
	if left := len(names(t, st, "index/")); left*4 > segments || sum.Copied == 0 {
		t.Errorf("%d segments of %d are left, %+v", left, segments, sum)
	}
}

// A reader that holds the old index finds what was rewritten, and one that loses
// a pack under its hands too.
func TestReaderDuringCollection(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(4, 256)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	kept := clone(disk[:len(disk)/4])
	mustBackup(t, v, "b2", kept, "", whole(kept))
	reader, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	m, err := reader.Manifest(t.Context(), "b2")
	if err != nil {
		t.Fatal(err)
	}
	im, err := reader.OpenImage(t.Context(), m.Images[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := v.DeleteBackup(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	// Every other chunk's pack is sparse now: a quarter is needed, whole packs of it.
	if sum := collectAll(t, v, vault.CollectOptions{Sparse: 2}); sum.Deleted == 0 || sum.Copied == 0 {
		t.Fatalf("%+v", sum)
	}
	out := newMemDisk(im.Size())
	if err := im.Restore(t.Context(), out, vault.RestoreOptions{}); err != nil || firstDiff(out.data, kept) != len(kept) {
		t.Errorf("restore by a reader that was there before: %v", err)
	}
}

// What cannot be read stops a collection: it might be healed by what would go.
func TestCollectRefusesDamage(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := randomDisk(newRand(5), 1<<20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	mustBackup(t, v, "b2", disk[:1<<18], "", whole(disk[:1<<18]))
	if err := v.DeleteBackup(t.Context(), "b2"); err != nil {
		t.Fatal(err)
	}
	before := names(t, st, "packs/")
	for _, name := range before {
		if strings.HasPrefix(name, "packs/s-b1/m") {
			st.Tamper(name, func(p []byte) []byte { p[len(p)/3] ^= 1; return p })
		}
	}
	fresh, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.PlanCollection(t.Context(), atOnce); !vault.IsDamage(err) {
		t.Errorf("plan over a damaged tree: %v", err)
	}
	if after := names(t, st, "packs/"); !slices.Equal(before, after) {
		t.Errorf("packs %v became %v", before, after)
	}
}

// A plan that another collector has overtaken is not executed.
func TestCollectStalePlan(t *testing.T) {
	st := mem.New()
	v, _ := initVault(t, st)
	disk := randomDisk(newRand(6), 1<<20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	if err := v.DeleteBackup(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	stale, err := v.PlanCollection(t.Context(), atOnce)
	if err != nil {
		t.Fatal(err)
	}
	collectAll(t, v, atOnce)
	mustBackup(t, v, "b2", disk, "", whole(disk))
	if err := v.DeleteBackup(t.Context(), "b2"); err != nil {
		t.Fatal(err)
	}
	collectAll(t, v, atOnce)
	mustBackup(t, v, "b3", disk, "", whole(disk))
	for range 2 {
		if r, err := v.Collect(t.Context(), stale, atOnce); !errors.Is(err, vault.ErrCollecting) {
			t.Errorf("an overtaken plan: %+v, %v", r, err)
		}
	}
	mustRestore(t, v, "b3", disk)
	checkOK(t, v)
	if left := names(t, st, "plans/"); len(left) > 4 {
		t.Errorf("plans left: %v", left)
	}
}
