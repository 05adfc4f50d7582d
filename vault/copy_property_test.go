package vault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/mem"
)

// two is a source and a target of copies, each with what is known of it.
type two struct{ src, dst *world }

// TestCopySchedules copies backups from one vault to another, call by call, in
// random orders, while backups come and go and collectors work at both. Copies of
// the same backup run at once; some are stopped for long, others killed. At any
// moment what counts is whole at both places, and at the end every copy that was
// told to be complete is there.
func TestCopySchedules(t *testing.T) {
	many := checks(t, 25, 1000)
	copied, freed := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		p := &two{newWorld(t, rt), newWorld(t, rt)}
		p.src.init()
		p.dst.o, p.dst.disks = p.src.o, p.src.disks
		twin(t, p.src.open(p.src.st), p.src.o, p.dst.st)
		s := newSchedule(newRand(rapid.Uint64().Draw(rt, "order")), p.src.st)
		s.start("writer", true, p.src.writer)
		s.start("collector", false, p.src.collector)
		s.start("deleter", false, p.deleter)
		for i := range rapid.IntRange(2, 3).Draw(rt, "copiers") {
			s.start(fmt.Sprint("copier ", i), i > 0, p.copier)
		}
		for i := range rapid.IntRange(1, 2).Draw(rt, "collectors at the target") {
			s.start(fmt.Sprint("collector at the target ", i), i > 0, func(st blob.Storage) { p.dst.collector(on(st, p.dst.st)) })
		}
		s.run(func(step int) {
			if step%101 == 0 {
				p.src.whole(fmt.Sprint("the source at step ", step))
				p.dst.whole(fmt.Sprint("the target at step ", step))
			}
		})
		copied += len(p.dst.done)
		p.src.finish()
		p.dst.finish()
		freed += p.dst.freed
	})
	if many && (copied == 0 || freed == 0) {
		t.Errorf("%d backups were copied, %d packs freed at the target", copied, freed)
	}
}

// copier copies what there is, and takes up what it or another has left.
func (p *two) copier(st blob.Storage) {
	from, to := p.src.open(st), p.dst.open(on(st, p.dst.st))
	if from == nil || to == nil {
		return
	}
	for range 6 {
		id := p.src.some()
		if id == "" {
			return
		}
		o := vault.CopyOptions{Bases: []string{p.dst.some()}}
		for n := 1; ; n++ {
			_, err := from.Copy(context.Background(), to, fmt.Sprint("copy-", id, ".", n), id, o)
			if err == nil {
				p.copied(id)
				break
			}
			if errors.Is(err, vault.ErrSessionLost) && n < 4 {
				continue // a collector thought us dead: anew
			}
			if errors.Is(err, errCrashed) {
				return
			}
			if !errors.Is(err, vault.ErrNoBackup) && !errors.Is(err, vault.ErrDeleted) && !errors.Is(err, vault.ErrSessionLost) {
				p.dst.failf("copy %s: %w", id, err)
				return
			}
			break
		}
	}
}

func (p *two) copied(id string) {
	p.dst.mu.Lock()
	defer p.dst.mu.Unlock()
	if !p.dst.deleting[id] {
		p.dst.done[id] = true
	}
}

// deleter deletes at the source, then at the target, as a deletion everywhere
// does; and at the target alone.
func (p *two) deleter(st blob.Storage) {
	from, to := p.src.open(st), p.dst.open(on(st, p.dst.st))
	for i := range 5 {
		id := p.src.some()
		if i%2 == 1 {
			id = p.dst.some()
		}
		if id == "" || from == nil || to == nil {
			continue
		}
		for _, w := range []*world{p.src, p.dst} {
			w.mu.Lock()
			delete(w.done, id)
			w.deleting[id] = true
			w.mu.Unlock()
		}
		for _, v := range []*vault.Vault{from, to} {
			if err := v.DeleteBackup(context.Background(), id); err != nil {
				p.dst.failf("delete %s: %w", id, err)
			}
		}
	}
}

func newWorld(t *testing.T, rt *rapid.T) *world {
	w := &world{t: t, rt: rt, st: mem.New(), disks: map[string][]byte{}, done: map[string]bool{}, deleting: map[string]bool{}}
	w.r = newRand(rapid.Uint64().Draw(rt, "seed"))
	return w
}
