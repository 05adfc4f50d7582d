package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
)

const testLock = 24 * time.Hour

// lockedHistory is a vault at a place that retains, beside its model, and
// somebody who holds the keys of the place, but none of the vault's. Time is that of
// a synctest bubble: a sleep only moves the clock.
type lockedHistory struct {
	t    *testing.T
	seed int
	r    *rand.Rand
	st   *mem.Locked
	o    owner
	disk []byte
	last string
	next int

	model map[string]promise // of the backups that were told to be complete
}

type promise struct {
	disk  []byte
	until time.Time
}

func (h *lockedHistory) open() *vault.Vault {
	v, err := vault.Open(h.t.Context(), h.st, h.o.ring)
	if errors.Is(err, vault.ErrNoVault) || errors.Is(err, vault.ErrFormat) {
		if kept := h.kept(); len(kept) > 0 {
			h.t.Fatalf("seed %d: %v, with %v retained", h.seed, err, kept)
		}
		// Nothing is retained any more, and he has destroyed it all.
		h.st, h.model, h.last = mem.NewLocked(testLock), map[string]promise{}, ""
		v, err = vault.Init(h.t.Context(), h.st, h.o.config())
	}
	if err != nil {
		h.t.Fatalf("seed %d: %v", h.seed, err)
	}
	return v
}

// kept are the backups before their dates.
func (h *lockedHistory) kept() []string {
	var ids []string
	for id, p := range h.model {
		if p.until.After(time.Now()) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (h *lockedHistory) write() {
	off := h.r.IntN(len(h.disk))
	end := off + 1 + h.r.IntN(min(20*testChunk, len(h.disk)-off))
	fill(h.r, h.disk[off:end])
}

// backup writes the whole disk, on a parent if there is one; after an attack on
// what was not retained it may fail, but then says so.
func (h *lockedHistory) backup() error {
	h.next++
	id := fmt.Sprintf("b%d", h.next)
	v := h.open()
	m, err := backup(h.t.Context(), v, id, h.disk, h.last, whole(h.disk))
	if errors.Is(err, vault.ErrNoBackup) || vault.Damage(err) {
		h.last = ""
		m, err = backup(h.t.Context(), v, id+"-full", h.disk, "", whole(h.disk))
		id += "-full"
	}
	if err != nil {
		return err
	}
	if m.RetainedUntil.Before(time.Now().Add(testLock - time.Minute)) {
		h.t.Fatalf("seed %d: %s is retained until %s only", h.seed, id, m.RetainedUntil)
	}
	h.model[id] = promise{clone(h.disk), m.RetainedUntil}
	h.last = id
	return nil
}

// attack deletes or cuts whatever is not retained, puts tombstones and notices
// for everything there is, and rubbish where plans and marks lie.
func (h *lockedHistory) attack() {
	all := names(h.t, h.st, "")
	share := h.r.IntN(3)
	for _, name := range all {
		if h.r.IntN(3) <= share {
			h.st.Tamper(name, func(p []byte) []byte { return p[:h.r.IntN(len(p)+1)/2] })
			if h.r.IntN(2) == 0 {
				h.st.Tamper(name, func([]byte) []byte { return nil })
			}
		}
	}
	for i := range h.next + 2 {
		for _, id := range []string{fmt.Sprintf("b%d", i), fmt.Sprintf("b%d-full", i)} {
			for _, name := range []string{"tombstones/backup-" + id, "tombstones/session-s-" + id, "notices/s-" + id} {
				if i <= h.next && h.r.IntN(2) == 0 { // what is to come, he does not know
					h.put(name, nil)
				}
			}
		}
	}
	n := h.r.IntN(40)
	for _, name := range []string{"plans/000000%02d", "plans/000000%02d-done", "tombstones/plan-000000%02d", "packs/s-b1/d%032d", "index/s-b1/%032d"} {
		if h.r.IntN(3) == 0 {
			h.put(fmt.Sprintf(name, n), []byte("rubbish"))
		}
	}
}

func (h *lockedHistory) put(name string, data []byte) {
	if err := h.st.Storage.PutNew(h.t.Context(), name, data); err != nil && !errors.Is(err, blob.ErrExists) {
		h.t.Fatalf("seed %d: %v", h.seed, err)
	}
}

// prove restores every backup that is retained, by a process that begins anew.
func (h *lockedHistory) prove() {
	kept := h.kept()
	if len(kept) == 0 {
		return
	}
	v, err := vault.Open(h.t.Context(), h.st, h.o.ring)
	if err != nil {
		h.t.Fatalf("seed %d: open with %v retained: %v", h.seed, kept, err)
	}
	shown, err := v.Manifests(h.t.Context())
	if err != nil {
		h.t.Fatalf("seed %d: %v", h.seed, err)
	}
	for _, id := range kept {
		got, err := restore(h.t.Context(), v, id)
		if err != nil || !bytes.Equal(got, h.model[id].disk) {
			h.t.Fatalf("seed %d: %s, retained until %s, at %s: %v, differs at %d", h.seed, id, h.model[id].until, time.Now(), err, firstDiff(got, h.model[id].disk))
		}
		if !slices.Contains(shown, id) {
			h.t.Fatalf("seed %d: %s is not among %v", h.seed, id, shown)
		}
		if err := v.DeleteBackup(h.t.Context(), id); !errors.Is(err, blob.ErrRetained) {
			h.t.Fatalf("seed %d: delete %s: %v", h.seed, id, err)
		}
	}
}

func (h *lockedHistory) collect() {
	v := h.open()
	o := atOnce
	o.Sparse = float64(h.r.IntN(3)) / 2
	p, err := v.PlanCollection(h.t.Context(), o)
	if err == nil {
		_, err = v.Collect(h.t.Context(), p, o)
	}
	// After an attack a collection may be unable to go on, but never harmful.
	if err != nil && !vault.IsDamage(err) && !errors.Is(err, vault.ErrCollecting) {
		h.t.Fatalf("seed %d: collect: %v", h.seed, err)
	}
}

// Random histories at a place that retains, under somebody who has its keys: at
// every moment before its date, every backup restores bit for bit.
// HOLDFAST_TEST_ROUNDS asks for more of them.
func TestRetainedHistories(t *testing.T) {
	rounds := 60
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_TEST_ROUNDS")); err == nil {
		rounds = max(rounds, 100*n)
	}
	for seed := range rounds {
		synctest.Test(t, func(t *testing.T) {
			r := newRand(uint64(seed))
			h := &lockedHistory{t: t, seed: seed, r: r, st: mem.NewLocked(testLock), o: newOwner(), model: map[string]promise{}}
			h.disk = make([]byte, 1+r.IntN(200*testChunk))
			h.open()
			for range 14 {
				h.step()
				h.prove()
			}
		})
	}
}

func (h *lockedHistory) step() {
	switch h.r.IntN(8) {
	case 0, 1:
		h.write()
		if err := h.backup(); err != nil && !vault.IsDamage(err) {
			h.t.Fatalf("seed %d: backup: %v", h.seed, err)
		}
	case 2: // one that dies somewhere
		st := fault.New(h.st)
		n := 1 + h.r.IntN(60)
		st.AddFault(fault.Any).FromCall(n).ErrorAfter(errInjected)
		st.AddFault(fault.Any).FromCall(n + 1).Forever().ErrorInstead(errInjected)
		h.write()
		v, err := vault.Open(h.t.Context(), st, h.o.ring)
		if err == nil {
			h.next++
			id := fmt.Sprintf("b%d", h.next)
			var m vault.Manifest
			if m, err = backup(h.t.Context(), v, id, h.disk, h.last, whole(h.disk)); err == nil {
				h.model[id] = promise{clone(h.disk), m.RetainedUntil}
			}
		}
	case 3:
		time.Sleep(time.Duration(h.r.Int64N(int64(testLock))))
	case 4, 5:
		h.attack()
	case 6:
		h.collect()
	case 7: // by right
		for _, id := range slices.Sorted(maps.Keys(h.model)) {
			if h.r.IntN(2) == 0 {
				continue
			}
			v := h.open()
			err := v.DeleteBackup(h.t.Context(), id)
			if _, retained := errors.AsType[*vault.RetainedError](err); retained != h.model[id].until.After(time.Now()) || err != nil && !retained {
				h.t.Fatalf("seed %d: delete %s, retained until %s, at %s: %v", h.seed, id, h.model[id].until, time.Now(), err)
			}
			if err == nil {
				delete(h.model, id)
			}
		}
	}
}

// What is retained of a backup is all of it, and no more.
func TestRetainsWhatIsNeeded(t *testing.T) {
	st := mem.NewLocked(testLock)
	v, _ := initVault(t, st)
	disk := randomDisk(newRand(50), 300*testChunk)
	first := mustBackup(t, v, "b1", disk, "", whole(disk))
	other := randomDisk(newRand(51), 50*testChunk)
	mustBackup(t, v, "other", other, "", whole(other))
	before := map[string]time.Time{}
	for _, name := range names(t, st, "") {
		before[name], _ = st.RetainedUntil(t.Context(), name)
	}
	asked := first.RetainedUntil.Add(100 * time.Hour)
	fill(newRand(52), disk[:10*testChunk])
	m, err := backupUntil(t.Context(), v, "b2", disk, "b1", ranges(vault.Range{Length: 10 * testChunk}), asked)
	if err != nil || !m.RetainedUntil.Equal(asked) {
		t.Fatalf("asked for %s: %s, %v", asked, m.RetainedUntil, err)
	}
	moved, stayed := map[string]int{}, map[string]int{}
	for name, was := range before {
		until, err := st.RetainedUntil(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(name, "/")
		if strings.Contains(name, "s-other") || kind == "backups" {
			kind += " of others"
		}
		if until.Equal(was) {
			stayed[kind]++
		} else {
			moved[kind]++
		}
		if !until.Equal(was) && until.Before(asked) {
			t.Errorf("%s is retained until %s", name, until)
		}
	}
	for kind, want := range map[string]bool{"vault.json": true, "packs": true, "index": true, "packs of others": false, "index of others": false, "backups of others": false, "keys": false} {
		if moved[kind] > 0 != want || !want && stayed[kind] == 0 {
			t.Errorf("%s: the dates of %d were moved, %d stayed", kind, moved[kind], stayed[kind])
		}
	}
	if until, err := st.RetainedUntil(t.Context(), "backups/b2"); err != nil || !until.Equal(asked) {
		t.Errorf("the manifest is retained until %s, %v", until, err)
	}
}

// A place that retains nothing promises nothing.
func TestNothingIsRetained(t *testing.T) {
	v, _ := initVault(t, mem.New())
	disk := randomDisk(newRand(53), 5*testChunk)
	if _, err := backupUntil(t.Context(), v, "b1", disk, "", whole(disk), time.Now().Add(time.Hour)); err == nil {
		t.Error("a date was promised that nobody keeps")
	}
	if m := mustBackup(t, v, "b2", disk, "", whole(disk)); !m.RetainedUntil.IsZero() {
		t.Errorf("retained until %s", m.RetainedUntil)
	}
}

// A tombstone that anybody may have put hides no retained backup, but it is no
// parent any more, and is gone when its date has come.
func TestTombstoneOfRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := mem.NewLocked(testLock)
		v, o := initVault(t, st)
		disk := randomDisk(newRand(54), 100*testChunk)
		mustBackup(t, v, "b1", disk, "", whole(disk))
		for _, name := range []string{"tombstones/backup-b1", "tombstones/session-s-b1"} {
			if err := st.PutNew(t.Context(), name, nil); err != nil {
				t.Fatal(err)
			}
		}
		mustRestore(t, v, "b1", disk)
		if _, err := v.Adopt(t.Context(), "b1"); !errors.Is(err, vault.ErrNoBackup) {
			t.Errorf("adopt: %v", err)
		}
		if _, err := backup(t.Context(), v, "b2", disk, "b1", ranges()); !errors.Is(err, vault.ErrNoBackup) {
			t.Errorf("a backup on it: %v", err)
		}
		collectAll(t, v, atOnce)
		mustRestore(t, v, "b1", disk)
		if r, err := check.Run(t.Context(), v, check.Options{ReadData: true}); err != nil || !r.OK || r.Backups != 1 {
			t.Errorf("check: %+v, %v", r, err)
		}
		time.Sleep(testLock + time.Second)
		if _, err := v.Manifest(t.Context(), "b1"); !errors.Is(err, vault.ErrNoBackup) {
			t.Errorf("after its date: %v", err)
		}
		collectAll(t, v, atOnce)
		v, err := vault.Open(t.Context(), st, o.ring)
		if err != nil {
			t.Fatal(err)
		}
		if left := names(t, st, "packs/"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if ids, err := v.Manifests(t.Context()); err != nil || len(ids) > 0 {
			t.Errorf("backups: %v, %v", ids, err)
		}
	})
}

// A collection leaves what is retained, says what waits and until when, and
// takes it when its time has come.
func TestCollectionWaitsForRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := mem.NewLocked(testLock)
		v, _ := initVault(t, st)
		disk := randomDisk(newRand(55), 200*testChunk)
		first := mustBackup(t, v, "b1", disk, "", whole(disk))
		time.Sleep(testLock / 2)
		fill(newRand(56), disk[:150*testChunk])
		mustBackup(t, v, "b2", disk, "b1", ranges(vault.Range{Length: 150 * testChunk}))
		time.Sleep(testLock/2 + time.Second)
		if err := v.DeleteBackup(t.Context(), "b1"); err != nil {
			t.Fatalf("delete at %s what is retained until %s: %v", time.Now(), first.RetainedUntil, err)
		}
		packs := names(t, st, "packs/")
		p, err := v.PlanCollection(t.Context(), atOnce)
		if err != nil {
			t.Fatal(err)
		}
		w := p.Waiting
		if w.Packs == 0 || w.Bytes == 0 || !w.First.After(time.Now()) || w.Last.Before(w.First) || w.Last.After(time.Now().Add(testLock)) {
			t.Errorf("waiting: %+v", w)
		}
		if !strings.Contains(p.String(), "are retained") {
			t.Errorf("plan: %s", p)
		}
		for _, c := range p.Condemned {
			if until, err := st.RetainedUntil(t.Context(), c.Name); err != nil || until.After(time.Now()) {
				t.Errorf("%s is condemned and retained until %s, %v", c.Name, until, err)
			}
		}
		collectAll(t, v, atOnce)
		mustRestore(t, v, "b2", disk)
		time.Sleep(testLock)
		collectAll(t, v, atOnce)
		if p, err = v.PlanCollection(t.Context(), atOnce); err != nil {
			t.Fatal(err)
		}
		if p.Waiting.Packs > 0 || len(names(t, st, "packs/")) >= len(packs) {
			t.Errorf("afterwards: %s", p)
		}
		mustRestore(t, v, "b2", disk)
	})
}

// A backup that comes while a collection is under way keeps the condemned packs
// that it needs; the collection spares them.
func TestRetainedWhileCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := mem.NewLocked(testLock)
		v, o := initVault(t, st)
		disk := randomDisk(newRand(57), 200*testChunk)
		mustBackup(t, v, "b1", disk, "", whole(disk))
		small := clone(disk[:20*testChunk])
		mustBackup(t, v, "b2", small, "", whole(small))
		time.Sleep(testLock + time.Second)
		if err := v.DeleteBackup(t.Context(), "b1"); err != nil {
			t.Fatal(err)
		}
		p, err := v.PlanCollection(t.Context(), atOnce)
		if err != nil || len(p.Condemned) == 0 {
			t.Fatalf("plan: %v, %v", p, err)
		}
		// Decided, but not yet deleted, when the backup comes.
		slow := fault.New(st)
		came := false
		slow.AddFault(fault.Delete).On("packs/").Do(func(fault.Call) {
			came = true
			w, err := vault.Open(t.Context(), st, o.ring)
			if err != nil {
				t.Fatal(err)
			}
			mustBackup(t, w, "b3", small, "b2", ranges())
		})
		cv, err := vault.Open(t.Context(), slow, o.ring)
		if err != nil {
			t.Fatal(err)
		}
		done, err := cv.Collect(t.Context(), p, atOnce)
		if err != nil || !came {
			t.Fatalf("collect: %+v, %v", done, err)
		}
		w, err := vault.Open(t.Context(), st, o.ring)
		if err != nil {
			t.Fatal(err)
		}
		mustRestore(t, w, "b2", small)
		mustRestore(t, w, "b3", small)
	})
}
