package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
)

// history is a vault beside its model: the disks as they were at each backup.
type history struct {
	t       *testing.T
	st      *mem.Storage
	o       owner
	v       *vault.Vault
	disk    []byte
	changed []vault.Range // since the backup named by parent
	parent  string
	model   map[string][]byte
	hurt    bool // something was corrupted: an error is allowed, wrong bytes are not
	next    int
}

// Random histories against the model. After each, every backup restores bit for
// bit; where bytes were corrupted, restore and check agree on what is lost.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := mem.New()
		v, o := initVault(t, st)
		size := rapid.IntRange(1, 600*testChunk).Draw(rt, "size")
		h := &history{t: t, st: st, o: o, v: v, model: map[string][]byte{}, disk: make([]byte, size)}
		r := newRand(rapid.Uint64().Draw(rt, "seed"))
		rt.Repeat(map[string]func(*rapid.T){
			"write":       func(*rapid.T) { h.write(r) },
			"trim":        func(*rapid.T) { h.trim(r) },
			"resize":      func(*rapid.T) { h.resize(r) },
			"full":        func(rt *rapid.T) { h.backup(rt, "", ranges(vault.Range{Length: int64(len(h.disk))})) },
			"incremental": h.incremental,
			"delete":      h.delete,
			"reopen":      h.reopen,
			"corrupt":     func(rt *rapid.T) { h.corrupt(rt, r) },
			"restore":     h.restore,
			"abandon":     h.abandon,
			"collect":     h.collect,
		})
		h.finish(rt)
	})
}

func (h *history) span(r *rand.Rand) (off, end int) {
	off = r.IntN(len(h.disk))
	end = off + 1 + r.IntN(min(20*testChunk, len(h.disk)-off))
	return off, end
}

func (h *history) note(off, end int, zero bool) {
	h.changed = append(h.changed, vault.Range{Offset: int64(off), Length: int64(end - off), Zero: zero})
}

func (h *history) write(r *rand.Rand) {
	off, end := h.span(r)
	fill(r, h.disk[off:end])
	h.note(off, end, false)
}

func (h *history) trim(r *rand.Rand) {
	off, end := h.span(r)
	clear(h.disk[off:end])
	h.note(off, end, false)
}

func (h *history) resize(r *rand.Rand) {
	size := 1 + r.IntN(600*testChunk)
	grown := make([]byte, size)
	copy(grown, h.disk)
	if size > len(h.disk) {
		h.note(len(h.disk), size, true)
	}
	h.disk = grown
}

// ranges gives what changed as a changed-block list would: merged, ascending,
// within the disk as it is now.
func (h *history) ranges() []vault.Range {
	dirty := make([]byte, len(h.disk)) // 1 read, 2 zero
	for _, c := range h.changed {
		for i := c.Offset; i < min(c.Offset+c.Length, int64(len(dirty))); i++ {
			dirty[i] = 1
			if c.Zero && h.disk[i] == 0 {
				dirty[i] = 2
			}
		}
	}
	var out []vault.Range
	for i := 0; i < len(dirty); {
		j := i
		for j < len(dirty) && dirty[j] == dirty[i] {
			j++
		}
		if dirty[i] != 0 {
			out = append(out, vault.Range{Offset: int64(i), Length: int64(j - i), Zero: dirty[i] == 2})
		}
		i = j
	}
	return out
}

func (h *history) incremental(rt *rapid.T) {
	if _, ok := h.model[h.parent]; !ok {
		rt.Skip("no parent")
	}
	h.backup(rt, h.parent, ranges(h.ranges()...))
}

func (h *history) backup(rt *rapid.T, parent string, rs func(func(vault.Range, error) bool)) {
	h.next++
	id := fmt.Sprintf("b%d", h.next)
	_, err := backup(h.t.Context(), h.v, id, h.disk, parent, rs)
	var damaged *vault.DamagedError
	if h.hurt && (errors.As(err, &damaged) || errors.Is(err, vault.ErrNoBackup) || vault.Damage(err)) {
		return
	}
	if err != nil {
		rt.Fatalf("backup %s on %q: %v", id, parent, err)
	}
	h.model[id] = clone(h.disk)
	h.parent, h.changed = id, nil
}

func (h *history) some(rt *rapid.T) string {
	ids := make([]string, 0, len(h.model))
	for id := range h.model {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		rt.Skip("no backups")
	}
	slices.Sort(ids)
	return rapid.SampledFrom(ids).Draw(rt, "backup")
}

func (h *history) delete(rt *rapid.T) {
	id := h.some(rt)
	if err := h.v.DeleteBackup(h.t.Context(), id); err != nil {
		rt.Fatal(err)
	}
	delete(h.model, id)
}

func (h *history) reopen(rt *rapid.T) {
	v, err := vault.OpenWithMaster(h.t.Context(), h.st, h.o.master)
	if err != nil {
		rt.Fatal(err)
	}
	h.v = v
}

func (h *history) abandon(rt *rapid.T) {
	if err := h.v.Abandon(h.t.Context(), fmt.Sprintf("s-b%d", h.next)); err != nil {
		rt.Fatal(err)
	}
}

// collect must not make anything worse that was corrupted.
func (h *history) collect(rt *rapid.T) {
	o := atOnce
	o.Sparse = rapid.SampledFrom([]float64{0, 1}).Draw(rt, "sparse")
	p, err := h.v.PlanCollection(h.t.Context(), o)
	if err == nil {
		_, err = h.v.Collect(h.t.Context(), p, o)
	}
	if err != nil && (!h.hurt || !vault.IsDamage(err)) {
		rt.Fatalf("collect: %v", err)
	}
}

// corrupt changes or removes a pack, a segment or a manifest.
func (h *history) corrupt(rt *rapid.T, r *rand.Rand) {
	prefix := rapid.SampledFrom([]string{"packs/", "packs/", "index/", "backups/"}).Draw(rt, "prefix")
	var names []string
	for info, err := range h.st.List(h.t.Context(), prefix) {
		if err != nil {
			rt.Fatal(err)
		}
		names = append(names, info.Name)
	}
	if len(names) == 0 || r.IntN(3) > 0 { // seldom, so that histories also grow whole
		rt.Skip("nothing to corrupt")
	}
	h.hurt = true
	h.st.Tamper(names[r.IntN(len(names))], func(p []byte) []byte {
		switch r.IntN(3) {
		case 0:
			return nil
		case 1:
			return p[:r.IntN(len(p))]
		}
		p[r.IntN(len(p))] ^= 1 << r.IntN(8)
		return p
	})
}

func (h *history) restore(rt *rapid.T) {
	id := h.some(rt)
	got, err := restore(h.t.Context(), h.v, id)
	if err == nil && !bytes.Equal(got, h.model[id]) {
		rt.Fatalf("backup %s: wrong bytes at %d", id, firstDiff(got, h.model[id]))
	}
	if err != nil && !h.hurt {
		rt.Fatalf("backup %s: %v", id, err)
	}
}

// finish compares all backups with the model, by a vault opened anew, and with
// what check says.
func (h *history) finish(rt *rapid.T) {
	h.reopen(rt)
	report, err := check.Run(h.t.Context(), h.v, check.Options{ReadData: true})
	if err != nil {
		rt.Fatal(err)
	}
	if !h.hurt && (!report.OK || report.Backups != len(h.model)) {
		rt.Fatalf("check of a whole vault: %+v", report)
	}
	lost := map[string]bool{}
	for _, d := range report.Damages {
		lost[d.Backup] = true
	}
	for id, want := range h.model {
		got, err := restore(h.t.Context(), h.v, id)
		gone := errors.Is(err, vault.ErrNoBackup) // its manifest was removed
		if err == nil && !bytes.Equal(got, want) {
			rt.Fatalf("backup %s: wrong bytes at %d", id, firstDiff(got, want))
		}
		if (err != nil) != (lost[id] || gone) {
			rt.Fatalf("backup %s: restore says %v, check %+v", id, err, report.Damages)
		}
		if err != nil && !h.hurt {
			rt.Fatal(err)
		}
	}
}
