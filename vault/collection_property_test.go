package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
)

// world is what the processes of a schedule share beside the vault: the model.
type world struct {
	t  *testing.T
	rt *rapid.T
	st *mem.Storage
	o  owner

	mu       sync.Mutex
	r        *rand.Rand
	disks    map[string][]byte // what each backup would hold
	done     map[string]bool   // told to be complete, and nobody has begun to delete it
	deleting map[string]bool   // of copies, which can be told after that
	next     int
	freed    int
	failure  error
}

// TestCollectionSchedules runs writers, deleters, readers and two collectors in
// random orders, call by call, stopping some for long and killing others. At any
// moment every backup that counts is whole; at the end all that were told to be
// complete are there, and a last collection leaves nothing but what they need.
func TestCollectionSchedules(t *testing.T) {
	many := checks(t, 25, 1000)
	freed := 0
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		w.init()
		s := newSchedule(newRand(rapid.Uint64().Draw(rt, "order")), w.st)
		for i := range rapid.IntRange(1, 3).Draw(rt, "writers") {
			s.start(fmt.Sprint("writer ", i), true, w.writer)
		}
		s.start("late writer", false, w.writer)
		s.start("deleter", false, w.deleter)
		s.start("reader", false, w.reader)
		for i := range rapid.IntRange(1, 2).Draw(rt, "collectors") {
			s.start(fmt.Sprint("collector ", i), i > 0, w.collector)
		}
		s.run(func(step int) {
			if step%101 == 0 {
				w.whole(fmt.Sprint("at step ", step))
			}
		})
		w.finish()
		freed += w.freed
	})
	if many && freed == 0 {
		t.Error("no collection freed anything")
	}
}

func (w *world) init() {
	v, o := initVault(w.t, w.st)
	w.o = o
	for range 2 {
		id, disk := w.draw("")
		mustBackup(w.t, v, id, disk, "", whole(disk))
		w.told(id)
	}
}

func (w *world) failf(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure == nil {
		w.failure = fmt.Errorf(format, a...)
	}
}

// draw makes a new disk, in parts that come again in others, so that backups of
// several writers share chunks.
func (w *world) draw(parent string) (string, []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	id := fmt.Sprintf("b%d", w.next)
	disk := make([]byte, 48*testChunk)
	if parent != "" {
		copy(disk, w.disks[parent])
	}
	for range 1 + w.r.IntN(4) {
		n := (1 + w.r.IntN(16)) * testChunk
		off := w.r.IntN(len(disk)/testChunk) * testChunk
		part := newRand(uint64(w.r.IntN(6)))
		for i := range min(n, len(disk)-off) {
			disk[off+i] = byte(part.Uint32())
		}
	}
	w.disks[id] = disk
	return id, disk
}

func (w *world) told(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[id] = true
}

func (w *world) some() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := slices.Sorted(maps.Keys(w.done))
	if len(ids) == 0 {
		return ""
	}
	return ids[w.r.IntN(len(ids))]
}

func (w *world) chance(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n) == 0
}

func (w *world) open(st blob.Storage) *vault.Vault {
	v, err := vault.Open(context.Background(), st, w.o.ring)
	if err != nil {
		return nil
	}
	return v
}

// writer makes backups, some on a parent. What fails is begun again now and then,
// or given up, or left as it is.
func (w *world) writer(st blob.Storage) {
	v := w.open(st)
	if v == nil {
		return
	}
	for range 4 {
		parent := ""
		if w.chance(2) {
			parent = w.some()
		}
		id, disk := w.draw(parent)
		for {
			_, err := backup(context.Background(), v, id, disk, parent, whole(disk))
			if err == nil {
				w.told(id)
				break
			}
			if errors.Is(err, errCrashed) {
				w.successor(id, disk)
				return
			}
			if errors.Is(err, vault.ErrNoBackup) || errors.Is(err, vault.ErrSessionLost) || errors.Is(err, vault.ErrDeleted) {
				break // the parent was deleted, or a collector thought we were dead
			}
			w.failf("backup %s: %w", id, err)
			return
		}
	}
}

// successor stands for what comes after a crash: the session is given up, or left.
func (w *world) successor(id string, disk []byte) {
	if !w.chance(3) {
		return
	}
	v := w.open(w.st)
	if w.chance(2) {
		if err := v.Abandon(context.Background(), "s-"+id); err != nil {
			w.failf("abandon %s: %w", id, err)
		}
		return
	}
	_, err := backup(context.Background(), v, id, disk, "", whole(disk))
	switch {
	case err == nil:
		w.told(id)
	case !errors.Is(err, vault.ErrSessionLost) && !errors.Is(err, vault.ErrDeleted) && !errors.Is(err, vault.ErrNoBackup):
		w.failf("successor of %s: %w", id, err)
	}
}

func (w *world) deleter(st blob.Storage) {
	v := w.open(st)
	for range 5 {
		id := w.some()
		if id == "" || v == nil {
			return
		}
		w.mu.Lock()
		delete(w.done, id)
		w.mu.Unlock()
		if err := v.DeleteBackup(context.Background(), id); err != nil {
			w.failf("delete %s: %w", id, err)
		}
	}
}

func (w *world) reader(st blob.Storage) {
	v := w.open(st)
	for range 4 {
		id := w.some()
		if id == "" {
			return
		}
		got, err := restore(context.Background(), v, id)
		w.mu.Lock()
		there, want := w.done[id], w.disks[id]
		w.mu.Unlock()
		if !there {
			continue // deleted meanwhile
		}
		if err != nil || !bytes.Equal(got, want) {
			w.failf("restore of %s: %w", id, errors.Join(err, fmt.Errorf("first difference at %d", firstDiff(got, want))))
		}
	}
}

// collector ends every session at once, as if each had been stopped for ever.
func (w *world) collector(st blob.Storage) {
	v := w.open(st)
	if v == nil {
		return
	}
	for range 6 {
		o := vault.CollectOptions{Idle: time.Nanosecond}
		if w.chance(3) {
			o.Sparse = 1
		}
		if w.chance(3) {
			o = vault.CollectOptions{Wait: time.Nanosecond}
		}
		p, err := v.PlanCollection(context.Background(), o)
		if err == nil {
			var r vault.Collected
			r, err = v.Collect(context.Background(), p, o)
			w.mu.Lock()
			w.freed += r.Deleted
			w.mu.Unlock()
		}
		var waiting *vault.WaitingError
		switch {
		case errors.Is(err, errCrashed):
			return
		case err != nil && !errors.Is(err, vault.ErrCollecting) && !errors.As(err, &waiting):
			w.failf("collect: %w", err)
		}
	}
}

// whole proves that every backup that counts is there to the last byte.
func (w *world) whole(when string) {
	v := w.open(w.st)
	report, err := check.Run(context.Background(), v, check.Options{ReadData: true})
	if err != nil || !report.OK {
		w.failf("%s: check says %v, %+v", when, err, report)
	}
}

func (w *world) finish() {
	if w.failure == nil {
		w.whole("at the end")
	}
	if w.failure != nil {
		w.rt.Fatal(w.failure)
	}
	v := w.open(w.st)
	collectAll(w.t, v, vault.CollectOptions{Idle: time.Nanosecond, Session: func(string) vault.SessionState { return vault.SessionDead }})
	w.whole("after the last collection")
	if w.failure != nil {
		w.rt.Fatal(w.failure)
	}
	ids, err := v.Manifests(w.t.Context())
	if err != nil {
		w.rt.Fatal(err)
	}
	for id := range w.done {
		if !slices.Contains(ids, id) {
			w.rt.Fatalf("backup %s was told to be complete, and is lost", id)
		}
	}
	for _, id := range ids {
		got, err := restore(w.t.Context(), v, id)
		if err != nil || !bytes.Equal(got, w.disks[id]) {
			w.rt.Fatalf("backup %s: %v, first difference at %d", id, err, firstDiff(got, w.disks[id]))
		}
	}
	p, err := v.PlanCollection(w.t.Context(), vault.CollectOptions{})
	if err != nil || !p.Empty() || p.Missing > 0 {
		w.rt.Fatalf("there is more to collect: %v, %v", p, err)
	}
	if left := names(w.t, w.st, "sessions/"); len(left) > 0 {
		w.rt.Fatalf("left: %v", left)
	}
}
