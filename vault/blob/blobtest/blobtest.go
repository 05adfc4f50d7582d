// Package blobtest is the conformance suite of blob.Storage: every implementation passes it.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/vault/blob"
)

// Run tests storages that open returns, each empty.
func Run(t *testing.T, open func(t *testing.T) blob.Storage) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, st blob.Storage)
	}{
		{"a blob comes back as it was put", roundTrip},
		{"a name is written once", createOnly},
		{"of many writers of a name one wins", race},
		{"what is absent is ErrNotFound", absent},
		{"reads end at the blob's end", readBounds},
		{"get is bounded", getLimit},
		{"list finds exactly the prefix", list},
		{"list can be left early", listBreak},
		{"delete is idempotent and frees the name", deletes},
		{"names that could mean something else are refused", names},
		{"a cancelled context is obeyed", cancelled},
		{"the caller keeps its buffers", buffers},
		{"directories come and go under writers", churn},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, st blob.Storage, name string, data []byte) {
	t.Helper()
	if err := st.PutNew(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
}

func roundTrip(t *testing.T, st blob.Storage) {
	for _, size := range []int{0, 1, 4095, 1 << 20, 5<<20 + 3} {
		data := bytes.Repeat([]byte{byte(size), 1, 2}, size/3+1)[:size]
		name := fmt.Sprintf("a/b-%d/c_%d.x", size, size)
		put(t, st, name, data)
		got, err := st.Get(t.Context(), name, int64(size))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("get of %d bytes: %d bytes, %v", size, len(got), err)
		}
		info, err := st.Stat(t.Context(), name)
		if err != nil || info != (blob.Info{Name: name, Size: int64(size)}) {
			t.Errorf("stat = %+v, %v", info, err)
		}
	}
}

func createOnly(t *testing.T, st blob.Storage) {
	put(t, st, "x/y", []byte("first"))
	if err := st.PutNew(t.Context(), "x/y", []byte("second")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("second put: %v", err)
	}
	if got, err := st.Get(t.Context(), "x/y", 100); err != nil || string(got) != "first" {
		t.Errorf("get = %q, %v", got, err)
	}
}

func race(t *testing.T, st blob.Storage) {
	var won atomic.Int32
	var winner atomic.Value
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			data := strings.Repeat(string(rune('a'+i)), 100000)
			err := st.PutNew(t.Context(), "race/one", []byte(data))
			switch {
			case err == nil:
				won.Add(1)
				winner.Store(data)
			case !errors.Is(err, blob.ErrExists):
				t.Errorf("put: %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d writers won", won.Load())
	}
	if got, err := st.Get(t.Context(), "race/one", 1<<20); err != nil || string(got) != winner.Load() {
		t.Errorf("the winner's bytes are not there: %v", err)
	}
}

func absent(t *testing.T, st blob.Storage) {
	put(t, st, "there/blob", nil)
	for _, name := range []string{"no", "there", "there/no", "there/blob/below"} {
		_, gerr := st.Get(t.Context(), name, 10)
		rerr := st.ReadAt(t.Context(), name, make([]byte, 1), 0)
		_, serr := st.Stat(t.Context(), name)
		for _, err := range []error{gerr, rerr, serr} {
			if !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func readBounds(t *testing.T, st blob.Storage) {
	put(t, st, "r", []byte("0123456789"))
	for _, c := range []struct {
		off  int64
		n    int
		want string
	}{{0, 10, "0123456789"}, {3, 4, "3456"}, {9, 1, "9"}, {10, 0, ""}, {9, 2, "!"}, {10, 1, "!"}, {11, 0, "!"}, {-1, 1, "!"}, {1 << 40, 1, "!"}} {
		p := make([]byte, c.n)
		err := st.ReadAt(t.Context(), "r", p, c.off)
		if c.want == "!" {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("read %d at %d: %v", c.n, c.off, err)
			}
		} else if err != nil || string(p) != c.want {
			t.Errorf("read %d at %d = %q, %v", c.n, c.off, p, err)
		}
	}
}

func getLimit(t *testing.T, st blob.Storage) {
	put(t, st, "big", make([]byte, 1000))
	if _, err := st.Get(t.Context(), "big", 999); !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("get above the limit: %v", err)
	}
}

func collect(t *testing.T, st blob.Storage, prefix string) []string {
	t.Helper()
	names := []string{}
	for info, err := range st.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != int64(len(info.Name)) {
			t.Errorf("%s: size %d", info.Name, info.Size)
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}

func list(t *testing.T, st blob.Storage) {
	all := []string{"a", "ab/c", "ab/d/e", "ab/d/f", "ab-x", "b/a", "b/ab"}
	for _, name := range all {
		put(t, st, name, []byte(name))
	}
	for _, prefix := range []string{"", "a", "ab", "ab/", "ab/d", "ab/d/", "ab/d/f", "b/a", "b/ab", "c", "c/d/", "ab/c/"} {
		want := []string{}
		for _, name := range all {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if got := collect(t, st, prefix); !slices.Equal(got, want) {
			t.Errorf("list %q = %v, want %v", prefix, got, want)
		}
	}
}

func listBreak(t *testing.T, st blob.Storage) {
	put(t, st, "l/a", nil)
	put(t, st, "l/b", nil)
	n := 0
	for _, err := range st.List(t.Context(), "l/") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d blobs", n)
	}
}

func deletes(t *testing.T, st blob.Storage) {
	put(t, st, "d/e/f", []byte("1"))
	for range 2 {
		if err := st.Delete(t.Context(), "d/e/f"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if _, err := st.Stat(t.Context(), "d/e/f"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("stat after delete: %v", err)
	}
	put(t, st, "d/e/f", []byte("2"))
}

func names(t *testing.T, st blob.Storage) {
	for _, name := range []string{"", "/a", "a/", "a//b", "..", "a/../b", ".a", "a/.b", "A", "a b", "a\x00b", "ä", "-a", strings.Repeat("n", blob.MaxName+1)} {
		_, gerr := st.Get(t.Context(), name, 1)
		_, serr := st.Stat(t.Context(), name)
		for _, err := range []error{gerr, serr, st.PutNew(t.Context(), name, nil), st.Delete(t.Context(), name), st.ReadAt(t.Context(), name, nil, 0)} {
			if !errors.Is(err, blob.ErrName) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func cancelled(t *testing.T, st blob.Storage) {
	put(t, st, "c", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, gerr := st.Get(ctx, "c", 1)
	_, serr := st.Stat(ctx, "c")
	var lerr error
	for _, err := range st.List(ctx, "") {
		lerr = err
	}
	for i, err := range []error{gerr, serr, lerr, st.PutNew(ctx, "d", nil), st.Delete(ctx, "c"), st.ReadAt(ctx, "c", nil, 0)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if got := collect2(t, st); !slices.Equal(got, []string{"c"}) {
		t.Errorf("blobs now: %v", got)
	}
}

func collect2(t *testing.T, st blob.Storage) (names []string) {
	t.Helper()
	for info, err := range st.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

func buffers(t *testing.T, st blob.Storage) {
	data := []byte("stays")
	put(t, st, "m", data)
	copy(data, "XXXXX")
	got, err := st.Get(t.Context(), "m", 10)
	if err != nil || string(got) != "stays" {
		t.Fatalf("get = %q, %v", got, err)
	}
	copy(got, "YYYYY")
	if got, err = st.Get(t.Context(), "m", 10); err != nil || string(got) != "stays" {
		t.Errorf("get = %q, %v", got, err)
	}
}

func churn(t *testing.T, st blob.Storage) {
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for range 25 {
				name := fmt.Sprintf("dir/sub/%d", w)
				if err := st.PutNew(t.Context(), name, []byte("x")); err != nil {
					t.Errorf("put: %v", err)
				}
				if err := st.Delete(t.Context(), name); err != nil {
					t.Errorf("delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
}
