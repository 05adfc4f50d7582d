package vault_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"holdfast/vault"
	"holdfast/vault/repair"
)

func (h *history) delete(rt *rapid.T) {
	id := h.some(rt)
	err := h.act(rt, h.st, func(v *vault.Vault) error { return v.DeleteBackup(h.t.Context(), id) })
	if err != nil && !errors.Is(err, errInjected) {
		rt.Fatal(err)
	}
	if _, serr := h.st.Stat(h.t.Context(), "tombstones/backup-"+id); serr != nil {
		if err == nil {
			rt.Fatalf("deleted backup %s has no tombstone", id)
		}
		return // it died before
	}
	if err := h.farV.DeleteBackup(h.t.Context(), id); err != nil {
		rt.Fatal(err)
	}
	delete(h.model, id)
	delete(h.copied, id)
}

func (h *history) reopen(rt *rapid.T) {
	var err error
	if h.v, err = vault.OpenWithMaster(h.t.Context(), h.st, h.o.master); err != nil {
		rt.Fatal(err)
	}
}

func (h *history) abandon(rt *rapid.T) {
	if err := h.v.Abandon(h.t.Context(), fmt.Sprintf("s-b%d", 1+h.r.IntN(h.next+1))); err != nil {
		rt.Fatal(err)
	}
}

// restore reads a backup by a vault that was open all the time.
func (h *history) restore(rt *rapid.T) {
	id := h.some(rt)
	for d, want := range h.model[id] {
		got, lost, err := restorePart(h.t.Context(), h.v, id, imageName(d))
		if err != nil || len(lost) > 0 {
			if !h.hurt {
				rt.Fatalf("backup %s: %v, lost %v", id, err, lost)
			}
			continue
		}
		sameBut(rt, id, got, want, nil)
	}
}

func (h *history) copy(rt *rapid.T) {
	id := h.some(rt)
	h.next++
	err := h.act(rt, h.far, func(to *vault.Vault) error {
		_, err := h.v.Copy(h.t.Context(), to, fmt.Sprintf("copy-%d", h.next), id, vault.CopyOptions{})
		return err
	})
	if _, serr := h.far.Stat(h.t.Context(), "backups/"+id); serr == nil {
		h.copied[id] = true
	} else if err == nil {
		rt.Fatalf("copied backup %s is not there", id)
	}
	if err != nil && !errors.Is(err, errInjected) && (!h.hurt || !vault.IsDamage(err) && !errors.Is(err, vault.ErrNoBackup)) {
		rt.Fatalf("copy of %s: %v", id, err)
	}
}

// collect must not make anything worse that was corrupted.
func (h *history) collect(rt *rapid.T) {
	o := atOnce
	o.Sparse = rapid.SampledFrom([]float64{0, 1}).Draw(rt, "sparse")
	at, hurt := h.st, h.hurt
	if h.r.IntN(4) == 0 {
		at, hurt = h.far, false
	}
	err := h.act(rt, at, func(v *vault.Vault) error {
		p, err := v.PlanCollection(h.t.Context(), o)
		if err == nil {
			_, err = v.Collect(h.t.Context(), p, o)
		}
		return err
	})
	if err != nil && !errors.Is(err, errInjected) && (!hurt || !vault.IsDamage(err)) {
		rt.Fatalf("collect: %v", err)
	}
}

// corrupt flips a bit, cuts, removes or exchanges packs, segments or manifests.
func (h *history) corrupt(rt *rapid.T) {
	prefix := rapid.SampledFrom([]string{"packs/", "packs/", "packs/", "index/", "backups/"}).Draw(rt, "prefix")
	var found []string
	for _, name := range names(h.t, h.st, prefix) {
		if id, is := strings.CutPrefix(name, "backups/"); !is || h.model[id] != nil {
			found = append(found, name)
		}
	}
	if len(found) == 0 || h.r.IntN(3) > 0 { // seldom, so that histories also grow whole
		rt.Skip("nothing to corrupt")
	}
	name, other := found[h.r.IntN(len(found))], found[h.r.IntN(len(found))]
	h.hurt, h.spoilt[name], h.spoilt[other] = true, true, true
	h.torn = h.torn || !dataPack(name) || !dataPack(other)
	how := h.r.IntN(4)
	var kept []byte
	h.st.Tamper(name, func(p []byte) []byte {
		kept = clone(p)
		switch {
		case how == 0:
			return nil
		case how == 1:
			return p[:h.r.IntN(len(p))]
		case how == 2 && name != other:
			return p // below
		}
		p[h.r.IntN(len(p))] ^= 1 << h.r.IntN(8)
		return p
	})
	if how == 2 && name != other {
		h.st.Tamper(other, func(p []byte) []byte { kept, p = p, kept; return p })
		h.st.Tamper(name, func([]byte) []byte { return kept })
	}
}

func dataPack(name string) bool {
	return strings.HasPrefix(name, "packs/") && strings.Contains(name[len("packs/"):], "/d")
}

// rollback puts back a blob that was deleted, as whoever holds the storage can. One
// that was whole harms nothing.
func (h *history) rollback(rt *rapid.T) {
	old := slices.Sorted(maps.Keys(h.graves))
	if len(old) == 0 {
		rt.Skip("nothing was deleted")
	}
	name := old[h.r.IntN(len(old))]
	if err := h.st.PutNew(h.t.Context(), name, h.graves[name]); err != nil {
		rt.Skip("it is there again")
	}
	if h.spoilt[name] {
		h.hurt, h.torn = true, true
	}
}

// repair brings back what the second site has, and from the live disks what is
// still the same.
func (h *history) repair(rt *rapid.T) {
	if !h.hurt && h.r.IntN(4) > 0 {
		rt.Skip("nothing is lost")
	}
	o := repair.Options{Sources: []*vault.Vault{h.farV}, Expect: h.ids(), DryRun: h.r.IntN(5) == 0}
	if h.r.IntN(2) == 0 {
		for d, disk := range h.disks {
			o.Disks = append(o.Disks, repair.Disk{Image: imageName(d), Size: int64(len(disk)), Read: newReader(disk)})
		}
	}
	var r repair.Report
	err := h.act(rt, h.st, func(v *vault.Vault) (err error) {
		r, err = repair.Run(h.t.Context(), v, o)
		return err
	})
	if errors.Is(err, errInjected) {
		return
	}
	if err != nil {
		rt.Fatalf("repair: %v", err)
	}
	for _, d := range r.Remaining {
		if h.copied[d.Backup] || h.model[d.Backup] == nil || !h.hurt {
			rt.Fatalf("repair leaves %+v", d)
		}
	}
	if o.DryRun {
		return
	}
	if r.OK {
		h.hurt, h.torn = false, false
	}
	h.prove(rt)
}
