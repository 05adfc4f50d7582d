package index

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"holdfast/vault/seal"
)

func newCache(t testing.TB, dir string) *Cache {
	t.Helper()
	c, err := OpenCache(dir, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t testing.TB, src Source) *Segment {
	t.Helper()
	s, err := Open(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fill(t testing.TB, s *Segment, memory bool) {
	t.Helper()
	if err := s.Fill(t.Context(), memory); err != nil {
		t.Fatal(err)
	}
}

// all finds every chunk.
func findAll(t *testing.T, s *Segment, all []Contents, far bool) {
	t.Helper()
	for _, c := range all {
		for _, e := range c.Entries {
			p, ok, err := NewSet(s).Find(t.Context(), e.ID)
			if err != nil || !ok || p.Entry != e || p.Pack != c.Info || p.Far != far {
				t.Fatalf("%+v, %v, %v", p, ok, err)
			}
		}
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		names = append(names, f.Name())
	}
	return names
}

// With a warm cache nothing is asked of the storage, by any process.
func TestCacheServes(t *testing.T) {
	all := contents(rand.New(rand.NewPCG(20, 20)), 50, 100)
	r, dir := newRemote(t, NewPart(all)), t.TempDir()
	fill(t, open(t, r.source(newCache(t, dir))), false)
	if n := len(files(t, dir)); n != 1 {
		t.Fatalf("%d files", n)
	}
	r.reads.Store(0)
	s := open(t, r.source(newCache(t, dir)))
	if !s.Filled() {
		t.Error("the copy came without its filter")
	}
	findAll(t, s, all, false)
	if part, err := s.CopiedPart(t.Context()); err != nil || len(part.Entries) != s.Len() {
		t.Errorf("whole: %v", err)
	}
	if n := r.reads.Load(); n != 0 {
		t.Errorf("%d reads of the storage", n)
	}
}

// Whatever happens to a copy, lookups are right, and the copy is made again.
func TestCacheDamaged(t *testing.T) {
	all := contents(rand.New(rand.NewPCG(21, 21)), 3, 400)
	r, dir := newRemote(t, NewPart(all)), t.TempDir()
	rnd := rand.New(rand.NewPCG(22, 22))
	damages := map[string]func(data []byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"zeros":     func(data []byte) []byte { return make([]byte, len(data)) },
		"short":     func(data []byte) []byte { return data[:len(data)-1] },
		"long":      func(data []byte) []byte { return append(data, 0) },
		"no filter": func(data []byte) []byte { clear(data[filterAt(int64(len(r.data))):]); return data },
		"filter": func(data []byte) []byte {
			at := int(filterAt(int64(len(r.data))))
			data[at+rnd.IntN(len(data)-at)] ^= 1
			return data
		},
		"entries": func(data []byte) []byte { data[seal.HeaderSize+rnd.IntN(1000*entrySize)] ^= 1; return data },
		"packs":   func(data []byte) []byte { data[seal.HeaderSize+1200*entrySize+5*seal.Overhead+9] ^= 1; return data },
	}
	for name, damage := range damages {
		cache := newCache(t, dir)
		fill(t, open(t, r.source(cache)), false)
		path := filepath.Join(dir, files(t, dir)[0])
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, damage(data), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, r.source(cache))
		for _, c := range all {
			for _, e := range c.Entries {
				if p, ok, err := NewSet(s).Find(t.Context(), e.ID); err != nil || !ok || p.Entry != e {
					t.Fatalf("%s: %+v, %v, %v", name, p, ok, err)
				}
			}
		}
		if n := len(files(t, dir)); n != 0 {
			t.Errorf("%s: the copy is still there", name)
		}
	}
}

// A process that died while it filled, and one that is at it, keep nobody from
// anything; a file that is no file is not followed.
func TestCacheFilledBySeveral(t *testing.T) {
	all := contents(rand.New(rand.NewPCG(23, 23)), 20, 200)
	r, dir := newRemote(t, NewPart(all)), t.TempDir()
	path := newCache(t, dir).path("index/s/x")
	if err := os.WriteFile(path+partSuffix, make([]byte, 1<<20), 0o600); err != nil { // died
		t.Fatal(err)
	}
	s := open(t, r.source(newCache(t, dir)))
	other := newCache(t, dir).begin(s) // at it
	if other == nil {
		t.Fatal("a dead process's file keeps others away")
	}
	fill(t, s, false)
	if s.Filled() {
		t.Error("two fill one file")
	}
	findAll(t, s, all, true)
	other.end()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s := open(t, r.source(newCache(t, dir)))
			if err := s.Fill(t.Context(), true); err != nil {
				t.Error(err)
			}
			if !s.Filled() {
				t.Error("not filled")
			}
		})
	}
	wg.Wait()
	findAll(t, open(t, r.source(newCache(t, dir))), all, false)
	if n := files(t, dir); len(n) != 1 {
		t.Errorf("left: %v", n)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", path); err != nil {
		t.Fatal(err)
	}
	findAll(t, open(t, r.source(newCache(t, dir))), all, true)
}

// The directory keeps within its bound, and loses what the vault has lost; without
// room, or without a directory, a filter in memory serves.
func TestCacheBound(t *testing.T) {
	all := contents(rand.New(rand.NewPCG(24, 24)), 2, 200)
	r, dir := newRemote(t, NewPart(all)), t.TempDir()
	small, err := OpenCache(dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, r.source(small))
	fill(t, s, false)
	if s.Filled() || len(files(t, dir)) != 0 {
		t.Error("the bound was passed")
	}
	fill(t, s, true)
	if !s.Filled() {
		t.Error("no filter in memory")
	}
	findAll(t, s, all, true)

	cache := newCache(t, dir)
	fill(t, open(t, r.source(cache)), false)
	foreign := filepath.Join(dir, "README")
	for _, path := range []string{foreign, cache.path("index/s/dead") + partSuffix} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cache.Keep([]string{"index/s/x"})
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d files are kept", n)
	}
	cache.Keep(nil)
	if n := files(t, dir); len(n) != 1 || n[0] != "README" || cache.used.Load() != 0 {
		t.Errorf("left: %v, %d bytes", n, cache.used.Load())
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s = open(t, r.source(cache))
	fill(t, s, true)
	findAll(t, s, all, true)
}

// A filter whose disk fails says maybe: the process lives, the lookup is right.
func TestFilterFault(t *testing.T) {
	all := contents(rand.New(rand.NewPCG(25, 25)), 20, 200)
	r, dir := newRemote(t, NewPart(all)), t.TempDir()
	cache := newCache(t, dir)
	s := open(t, r.source(cache))
	fill(t, s, false)
	if err := os.Truncate(cache.path("index/s/x"), 0); err != nil { // its pages fault as a failing disk's do
		t.Fatal(err)
	}
	findAll(t, s, all, true)
}
