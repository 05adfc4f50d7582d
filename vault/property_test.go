package vault_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
)

// history is a vault beside its model: the disks as they were at each backup. far
// is a second vault, of which nothing is ever lost.
type history struct {
	t       *testing.T
	r       *rand.Rand
	o       owner
	st, far *mem.Storage
	v, farV *vault.Vault
	disks   [][]byte
	changed [][]vault.Range // since the backup named by parent
	parent  string
	model   map[string][][]byte
	copied  map[string]bool
	graves  map[string][]byte // what was deleted, to be put back
	spoilt  map[string]bool   // what was corrupted
	hurt    bool              // something was corrupted: an error is allowed, wrong bytes are not
	torn    bool              // and not only in packs of data
	next    int
	steps   map[string]int
}

// TestHistories runs random histories against the model. Every restore is bit for
// bit, or names exactly what is lost, as check does; what the second site has,
// repair brings back. HOLDFAST_FULL makes them many and long.
func TestHistories(t *testing.T) {
	checks(t, 50, 400)
	if os.Getenv("HOLDFAST_FULL") != "" {
		setFlag(t, "rapid.steps", "60")
	}
	steps := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t, newRand(rapid.Uint64().Draw(rt, "seed")))
		h.steps = steps
		rt.Repeat(h.actions())
		h.prove(rt)
	})
	total := 0
	for _, n := range steps {
		total += n
	}
	t.Logf("%d steps: %v", total, steps)
}

// checks says how many random cases a change runs, and how many HOLDFAST_FULL. A
// number given to go test goes before both. many tells whether the cases are so
// many that each thing must have come to pass in one of them.
func checks(t *testing.T, few, full int) (many bool) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f.Value.String() == f.DefValue {
		if os.Getenv("HOLDFAST_FULL") != "" {
			few = full
		}
		setFlag(t, f.Name, strconv.Itoa(few))
	}
	n, err := strconv.Atoi(f.Value.String())
	if err != nil {
		t.Fatal(err)
	}
	return n >= 200
}

func setFlag(t *testing.T, name, value string) {
	t.Helper()
	old := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, old) }) // it was valid
}

func newHistory(t *testing.T, r *rand.Rand) *history {
	h := &history{t: t, r: r, st: mem.New(), far: mem.New(), model: map[string][][]byte{}, copied: map[string]bool{}, graves: map[string][]byte{}, spoilt: map[string]bool{}}
	h.v, h.o = initVault(t, h.st)
	var err error
	if h.farV, err = h.v.InitCopy(t.Context(), h.far, h.o.config()); err != nil {
		t.Fatal(err)
	}
	h.disks = [][]byte{make([]byte, 1+r.IntN(400*testChunk)), make([]byte, 1+r.IntN(30*testChunk))}
	h.changed = make([][]vault.Range, len(h.disks))
	return h
}

func (h *history) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){
		"write": h.write, "trim": h.trim, "resize": h.resize, "full": h.full, "incremental": h.incremental,
		"delete": h.delete, "abandon": h.abandon, "reopen": h.reopen, "restore": h.restore,
		"copy": h.copy, "collect": h.collect, "corrupt": h.corrupt, "rollback": h.rollback, "repair": h.repair,
	}
	for name, do := range all {
		all[name] = func(rt *rapid.T) {
			do(rt)
			h.steps[name]++ // unless it was skipped
		}
	}
	return all
}

// span chooses a disk and a part of it.
func (h *history) span() (d, off, end int) {
	d = h.r.IntN(len(h.disks))
	off = h.r.IntN(len(h.disks[d]))
	return d, off, off + 1 + h.r.IntN(min(20*testChunk, len(h.disks[d])-off))
}

func (h *history) note(d, off, end int, zero bool) {
	h.changed[d] = append(h.changed[d], vault.Range{Offset: int64(off), Length: int64(end - off), Zero: zero})
}

func (h *history) write(*rapid.T) {
	d, off, end := h.span()
	fill(h.r, h.disks[d][off:end])
	h.note(d, off, end, false)
}

func (h *history) trim(*rapid.T) {
	d, off, end := h.span()
	clear(h.disks[d][off:end])
	h.note(d, off, end, false)
}

func (h *history) resize(*rapid.T) {
	d := h.r.IntN(len(h.disks))
	size := 1 + h.r.IntN(400*testChunk)
	grown := make([]byte, size)
	copy(grown, h.disks[d])
	if size > len(h.disks[d]) {
		h.note(d, len(h.disks[d]), size, true)
	}
	h.disks[d] = grown
}

// ranges gives what changed as a changed-block list would: merged, ascending,
// within the disk as it is now.
func (h *history) ranges(d int) []vault.Range {
	disk := h.disks[d]
	dirty := make([]byte, len(disk)) // 1 read, 2 zero
	for _, c := range h.changed[d] {
		for i := c.Offset; i < min(c.Offset+c.Length, int64(len(dirty))); i++ {
			dirty[i] = 1
			if c.Zero && disk[i] == 0 {
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

func (h *history) full(rt *rapid.T) { h.backup(rt, "") }

func (h *history) incremental(rt *rapid.T) {
	if _, ok := h.model[h.parent]; !ok {
		rt.Skip("no parent")
	}
	h.backup(rt, h.parent)
}

func (h *history) backup(rt *rapid.T, parent string) {
	h.next++
	id := fmt.Sprintf("b%d", h.next)
	err := h.act(rt, h.st, func(v *vault.Vault) error { return h.session(v, id, parent) })
	if errors.Is(err, errInjected) {
		if _, serr := h.st.Stat(h.t.Context(), "backups/"+id); serr == nil {
			err = nil // it died after the commit
		}
	}
	if err == nil {
		h.model[id] = nil
		for d, disk := range h.disks {
			h.model[id] = append(h.model[id], clone(disk))
			h.changed[d] = nil
		}
		h.parent = id
		return
	}
	if !errors.Is(err, errInjected) && (!h.hurt || !vault.IsDamage(err) && !errors.Is(err, vault.ErrNoBackup)) {
		rt.Fatalf("backup %s on %q: %v", id, parent, err)
	}
}

func imageName(d int) string { return fmt.Sprint("disk", d) }

// session writes all disks as one backup.
func (h *history) session(v *vault.Vault, id, parent string) error {
	return v.Write(h.t.Context(), "s-"+id, func(ctx context.Context, s *vault.Session) error {
		m := vault.Manifest{Backup: id, CreatedAt: time.Now()}
		for d, disk := range h.disks {
			in := vault.ImageInput{Name: imageName(d), Size: int64(len(disk)), Read: bytes.NewReader(disk), Ranges: whole(disk)}
			if parent != "" {
				in.Parent, in.Ranges = &vault.Parent{Backup: parent, Image: in.Name}, ranges(h.ranges(d)...)
			}
			im, err := s.WriteImage(ctx, in)
			if err != nil {
				return err
			}
			m.Images = append(m.Images, im)
		}
		_, err := s.Commit(ctx, m)
		return err
	})
}

// act does something in a process of its own, which now and then dies at some
// storage call, before it or after.
func (h *history) act(rt *rapid.T, inner blob.Storage, do func(*vault.Vault) error) error {
	before := h.st.Clone()
	defer h.bury(rt, before)
	st := fault.New(inner)
	var died atomic.Bool
	st.OnFault(func(fault.Call) { died.Store(true) })
	if h.r.IntN(4) == 0 {
		call := 1 + h.r.IntN(80)
		if h.r.IntN(2) == 0 {
			st.AddFault(fault.Any).FromCall(call).ErrorAfter(errInjected)
			call++
		}
		st.AddFault(fault.Any).FromCall(call).Forever().ErrorInstead(errInjected)
	}
	v, err := vault.Open(h.t.Context(), st, h.o.ring)
	if err == nil {
		err = do(v)
	}
	if err != nil && died.Load() {
		return errors.Join(errInjected, err) // whatever it says of its end
	}
	return err
}

// bury keeps what was deleted since.
func (h *history) bury(rt *rapid.T, before *mem.Storage) {
	for info, err := range before.List(h.t.Context(), "") {
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := h.st.Stat(h.t.Context(), info.Name); errors.Is(err, blob.ErrNotFound) {
			if h.graves[info.Name], err = before.Get(h.t.Context(), info.Name, 1<<30); err != nil {
				rt.Fatal(err)
			}
		}
	}
}

// some chooses a backup.
func (h *history) some(rt *rapid.T) string {
	ids := h.ids()
	if len(ids) == 0 {
		rt.Skip("no backups")
	}
	return rapid.SampledFrom(ids).Draw(rt, "backup")
}

func (h *history) ids() []string {
	ids := make([]string, 0, len(h.model))
	for id := range h.model {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
