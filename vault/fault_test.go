package vault_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
)

// scene is one state change of a vault: it begins with backup b1 and does
// something that a crash may interrupt.
type scene struct {
	name string
	do   func(ctx context.Context, v *vault.Vault, next []byte) error
	// backups before and after; a crash must leave one of the two.
	before, after []string
}

var scenes = []scene{
	{"incremental", func(ctx context.Context, v *vault.Vault, next []byte) error {
		_, err := backup(ctx, v, "b2", next, "b1", ranges(vault.Range{Offset: 0, Length: 200_000}))
		return err
	}, []string{"b1"}, []string{"b1", "b2"}},
	{"full", func(ctx context.Context, v *vault.Vault, next []byte) error {
		_, err := backup(ctx, v, "b2", next, "", whole(next))
		return err
	}, []string{"b1"}, []string{"b1", "b2"}},
	{"delete", func(ctx context.Context, v *vault.Vault, _ []byte) error {
		return v.DeleteBackup(ctx, "b1")
	}, []string{"b1"}, nil},
}

func TestFaultAtEveryCall(t *testing.T) {
	base := mem.New()
	v, o := initVault(t, base)
	r := newRand(20)
	disk := randomDisk(r, 700<<10)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	next := clone(disk)
	fill(r, next[:100_000])
	for i := range 50_000 {
		next[100_000+i] = byte(r.Uint32())
	}
	for _, sc := range scenes {
		for _, f := range fault.Failures {
			t.Run(sc.name+"/"+f.Name, func(t *testing.T) {
				t.Parallel()
				failed := 0
				for call := 1; ; call++ {
					c := crash{t, sc, base.Clone(), o, disk, next}
					hit, err := c.attempt(func(st *fault.Storage) { f.Arm(st, call) })
					c.oldOrNew(err)
					c.recover()
					if err != nil {
						failed++
					}
					if !hit {
						break
					}
				}
				if failed == 0 {
					t.Error("no fault was noticed")
				}
			})
		}
	}
}

// crash is one attempt at a scene on its own copy of the vault.
type crash struct {
	t          *testing.T
	sc         scene
	st         *mem.Storage
	o          owner
	disk, next []byte
}

// attempt runs the scene on a storage with a fault; hit tells whether it came
// far enough to meet it.
func (c crash) attempt(arm func(*fault.Storage)) (hit bool, err error) {
	st := fault.New(c.st)
	arm(st)
	met := false
	st.OnFault(func(fault.Call) { met = true })
	v, err := vault.Open(c.t.Context(), st, c.o.ring)
	if err == nil {
		err = c.sc.do(c.t.Context(), v, c.next)
	}
	return met, err
}

// oldOrNew proves that the vault is as before or as after, and whole.
func (c crash) oldOrNew(err error) {
	c.t.Helper()
	v, oerr := vault.Open(c.t.Context(), c.st, c.o.ring)
	if oerr != nil {
		c.t.Fatal(oerr)
	}
	ids, lerr := v.Manifests(c.t.Context())
	if lerr != nil {
		c.t.Fatal(lerr)
	}
	after := equal(ids, c.sc.after)
	if !after && (err == nil || !equal(ids, c.sc.before)) {
		c.t.Fatalf("after %v the backups are %v", err, ids)
	}
	c.whole(v, ids)
}

func (c crash) whole(v *vault.Vault, ids []string) {
	c.t.Helper()
	for _, id := range ids {
		want := c.disk
		if id == "b2" {
			want = c.next
		}
		mustRestore(c.t, v, id, want)
	}
	r, err := check.Run(c.t.Context(), v, check.Options{ReadData: true})
	if err != nil || !r.OK {
		c.t.Fatalf("check: %v, %+v", err, r)
	}
}

// recover does it again without a fault: it must succeed.
func (c crash) recover() {
	c.t.Helper()
	if _, err := c.attempt(func(*fault.Storage) {}); err != nil {
		c.t.Fatalf("the second attempt: %v", err)
	}
	c.oldOrNew(nil)
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Wrong bytes from the storage are never handed on: a restore is right or an error.
func TestWrongBytesAtEveryRead(t *testing.T) {
	base := mem.New()
	v, o := initVault(t, base)
	disk := randomDisk(newRand(21), 300<<10)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	flips := []func([]byte) []byte{
		func(p []byte) []byte { p[len(p)/2] ^= 4; return p },
		func(p []byte) []byte { return p[:len(p)/2] },
		func(p []byte) []byte { clear(p); return p },
	}
	for n := 1; ; n++ {
		var hit atomic.Bool
		for _, flip := range flips {
			st := fault.New(base)
			for _, op := range []fault.Op{fault.Get, fault.Read} {
				st.AddFault(op).FromCall(n).Forever().Change(func(p []byte) []byte {
					if hit.Store(true); len(p) == 0 {
						return p
					}
					return flip(p)
				})
			}
			rv, err := vault.Open(t.Context(), st, o.ring)
			if err != nil {
				continue
			}
			got, err := restore(t.Context(), rv, "b1")
			if err == nil && !bytes.Equal(got, disk) {
				t.Fatalf("from call %d on, wrong bytes were restored", n)
			}
		}
		if !hit.Load() {
			if n < 5 {
				t.Fatalf("only %d calls", n)
			}
			return
		}
	}
}

// A source that fails does not end the session: the caller may begin the image anew.
func TestSourceError(t *testing.T) {
	v, _ := initVault(t, mem.New())
	disk := randomDisk(newRand(22), 1<<20)
	err := v.Write(t.Context(), "s1", func(ctx context.Context, s *vault.Session) error {
		in := vault.ImageInput{Name: "disk0", Size: int64(len(disk)), Read: failingReader{disk}, Ranges: whole(disk)}
		if _, err := s.WriteImage(ctx, in); !errors.Is(err, errInjected) {
			t.Errorf("write of a failing source: %v", err)
		}
		in.Read = bytes.NewReader(disk)
		im, err := s.WriteImage(ctx, in)
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: "b1", Images: []vault.Image{im}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	mustRestore(t, v, "b1", disk)
}

type failingReader struct{ disk []byte }

func (r failingReader) ReadAt(p []byte, off int64) (int, error) {
	if off > int64(len(r.disk))/2 {
		return 0, errInjected
	}
	return copy(p, r.disk[off:]), nil
}
