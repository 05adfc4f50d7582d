package vault_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
)

// race is a vault with a deleted backup, whose packs are garbage that a writer
// older than the plan still relies on.
type race struct {
	t    *testing.T
	st   *mem.Storage
	o    owner
	disk []byte
}

func newRace(t *testing.T) *race {
	r := &race{t: t, st: mem.New(), disk: noisy(60, 100)}
	var v *vault.Vault
	v, r.o = initVault(t, r.st)
	mustBackup(t, v, "b0", r.disk, "", whole(r.disk))
	if err := v.DeleteBackup(t.Context(), "b0"); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *race) open(st blob.Storage) *vault.Vault {
	r.t.Helper()
	v, err := vault.Open(r.t.Context(), st, r.o.ring)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r *race) image(ctx context.Context, s *vault.Session, parent string) (vault.Image, error) {
	in := vault.ImageInput{Name: "disk0", Size: int64(len(r.disk)), Read: bytes.NewReader(r.disk)}
	if parent == "" {
		in.Ranges = whole(r.disk)
	} else {
		in.Parent = &vault.Parent{Backup: parent, Image: "disk0"}
	}
	return s.WriteImage(ctx, in)
}

// collect plans, or goes on with the plan that is published.
func (r *race) collect(st blob.Storage, o vault.CollectOptions) (vault.Collected, error) {
	v := r.open(st)
	p, err := v.PlanCollection(r.t.Context(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	return v.Collect(r.t.Context(), p, o)
}

// A backup completed after the plan by an older writer, taken as a parent by a
// younger one, and deleted before the decision, leaves no trace but its tombstone.
// What the younger one inherited is there all the same.
func TestCollectBackupThatCameAndWent(t *testing.T) {
	r := newRace(t)
	ctx := t.Context()
	err := r.open(r.st).Write(ctx, "s1", func(ctx context.Context, s *vault.Session) error {
		im, err := r.image(ctx, s, "")
		if err != nil {
			return err
		}
		var waiting *vault.WaitingError
		if _, err := r.collect(r.st, vault.CollectOptions{Wait: time.Nanosecond}); !errors.As(err, &waiting) || len(waiting.Sessions) != 1 {
			t.Errorf("a collection with a writer older than the plan: %v", err)
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: "b1", Images: []vault.Image{im}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = r.open(r.st).Write(ctx, "s2", func(ctx context.Context, s *vault.Session) error {
		im, err := r.image(ctx, s, "b1")
		if err != nil {
			return err
		}
		if err := r.open(r.st).DeleteBackup(ctx, "b1"); err != nil {
			return err
		}
		sum, err := r.collect(r.st, vault.CollectOptions{Wait: time.Nanosecond})
		if err != nil || !sum.Again || sum.Deleted > 0 {
			t.Errorf("collected %+v, %v", sum, err)
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: "b2", Images: []vault.Image{im}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	v := r.open(r.st)
	mustRestore(t, v, "b2", r.disk)
	collectAll(t, v, atOnce)
	checkOK(t, v)
	mustRestore(t, v, "b2", r.disk)
}

// interposed calls before the second listing of a prefix.
type interposed struct {
	blob.Storage
	prefix string
	before func()
	seen   int
}

func (i *interposed) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if prefix == i.prefix {
		if i.seen++; i.seen == 2 {
			i.before()
		}
	}
	return i.Storage.List(ctx, prefix)
}

// A collector that finds no plan sleeps, while another publishes one and waits for
// a writer older than it. There must be no second plan: writers would look at the
// later one only, and rely on what the first condemned.
func TestCollectPlanPublishedMeanwhile(t *testing.T) {
	r := newRace(t)
	err := r.open(r.st).Write(t.Context(), "s1", func(ctx context.Context, s *vault.Session) error {
		asleep := &interposed{Storage: r.st, prefix: "plans/"}
		v := r.open(asleep)
		asleep.before = func() {
			var waiting *vault.WaitingError
			if _, err := r.collect(r.st, vault.CollectOptions{Wait: time.Nanosecond}); !errors.As(err, &waiting) {
				t.Errorf("a collection with a writer older than the plan: %v", err)
			}
		}
		asleep.seen = 0
		if p, err := v.PlanCollection(ctx, vault.CollectOptions{Wait: time.Nanosecond}); !errors.Is(err, vault.ErrCollecting) || asleep.seen < 2 {
			t.Errorf("planned %+v beside an open plan, %v", p, err)
		}
		im, err := r.image(ctx, s, "")
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: "b1", Images: []vault.Image{im}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	v := r.open(r.st)
	collectAll(t, v, atOnce)
	checkOK(t, v)
	mustRestore(t, v, "b1", r.disk)
}

// A collector that has seen no manifest of a session is about to end it, when the
// manifest comes and another writer takes the backup as its parent: from then on
// the session cannot be ended.
func TestCollectParentOfDoubtfulSession(t *testing.T) {
	r := newRace(t)
	ctx := t.Context()
	inherited, proceed, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	child := func() {
		done <- r.open(r.st).Write(ctx, "s2", func(ctx context.Context, s *vault.Session) error {
			im, err := r.image(ctx, s, "b1")
			close(inherited)
			if err != nil {
				return err
			}
			<-proceed
			_, err = s.Commit(ctx, vault.Manifest{Backup: "b2", Images: []vault.Image{im}})
			return err
		})
	}
	dies := fault.New(r.st)
	dies.AddFault(fault.Put).On("backups/").ErrorAfter(errInjected)
	err := r.open(dies).Write(ctx, "s1", func(ctx context.Context, s *vault.Session) error {
		im, err := r.image(ctx, s, "")
		if err != nil {
			return err
		}
		st := fault.New(r.st)
		st.AddFault(fault.Put).On("tombstones/session-s1").Do(func(fault.Call) {
			// The writer dies after its manifest, before it looks whether it counts.
			if _, err := s.Commit(ctx, vault.Manifest{Backup: "b1", Images: []vault.Image{im}}); !errors.Is(err, errInjected) {
				t.Errorf("commit: %v", err)
			}
			go child()
			<-inherited
		})
		sum, err := r.collect(st, atOnce)
		if err != nil || strings.Join(sum.Ended, " ") != "s1" {
			t.Errorf("collected %+v, %v", sum, err)
		}
		return errInjected
	})
	if !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	close(proceed)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	v := r.open(r.st)
	checkOK(t, v)
	mustRestore(t, v, "b1", r.disk)
	mustRestore(t, v, "b2", r.disk)
}

// A published plan that was damaged keeps nobody from backing up, and the next
// collection gives it up.
func TestCollectDamagedPlan(t *testing.T) {
	r := newRace(t)
	err := r.open(r.st).Write(t.Context(), "s1", func(ctx context.Context, s *vault.Session) error {
		var waiting *vault.WaitingError
		if _, err := r.collect(r.st, vault.CollectOptions{Wait: time.Nanosecond}); !errors.As(err, &waiting) {
			t.Errorf("a collection with a writer older than the plan: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.st.Tamper("plans/00000001", func(p []byte) []byte { p[len(p)/2] ^= 1; return p })
	v := r.open(r.st)
	mustBackup(t, v, "b2", r.disk, "", whole(r.disk))
	if sum := collectAll(t, r.open(r.st), atOnce); sum.Deleted == 0 {
		t.Errorf("collected %+v", sum)
	}
	checkOK(t, v)
	mustRestore(t, v, "b2", r.disk)
	if n := size(t, r.st); n > int64(len(r.disk))*12/10 {
		t.Errorf("%d bytes are left for a disk of %d", n, len(r.disk))
	}
}
