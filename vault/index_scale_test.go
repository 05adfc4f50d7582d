package vault_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/local"
	"holdfast/vault/index"
	"holdfast/vault/keys"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// The synthetic index: a vault of 10 TiB with HOLDFAST_FULL, else a fortieth.
func indexEntries() (segments, each int) {
	if os.Getenv("HOLDFAST_FULL") != "" {
		return 10, 4_000_000
	}
	return 10, 100_000
}

// synthetic is an index part of evenly spread ids, whose packs do not exist.
func synthetic(r *rand.Rand, session string, n int) *index.Part {
	const perPack, sealed = 200, 1016
	p := &index.Part{Entries: make([]index.Entry, n)}
	for range (n + perPack - 1) / perPack {
		info := pack.NewInfo(session, pack.Data, 1)
		info.Size, info.Count = uint32(seal.HeaderSize+perPack*sealed+pack.Overhead(perPack)), perPack
		p.Packs = append(p.Packs, info)
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		step := ^uint64(0) / uint64(n)
		binary.BigEndian.PutUint64(e.ID[:], uint64(i)*step+r.Uint64N(step))
		for j := 8; j < 32; j += 8 {
			binary.LittleEndian.PutUint64(e.ID[j:], r.Uint64())
		}
		at := i * 7919 % n // neighbours by id lie in packs far from each other
		e.Pack, e.Ordinal = uint32(at/perPack), uint32(at%perPack)
		e.Offset, e.Sealed, e.Meta = seal.HeaderSize+e.Ordinal*sealed, sealed, sealed-seal.Overhead
	}
	return p
}

func putPart(t testing.TB, st blob.Storage, ring keys.Ring, session string, part *index.Part) {
	t.Helper()
	id := keys.NewRing().ParamKey()
	name := index.Prefix + session + "/" + hex.EncodeToString(id[:16])
	data, err := index.Encode(ring, seal.NewHeader(seal.Index, 1), name, part)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.PutNew(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
}

// bigVault has one backup of a sparse disk and an index of many other chunks. The
// backup's own segment was merged into a large one, as a collection does.
func bigVault(t testing.TB, o owner, dir string, size int64, rs []vault.Range) (*local.Storage, vault.Image) {
	t.Helper()
	st, err := local.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := o.config()
	c.ChunkSize, c.PackSize = 0, 0
	v, err := vault.Init(t.Context(), st, c)
	if err != nil {
		t.Fatal(err)
	}
	var im vault.Image
	err = v.Write(t.Context(), "s-b1", func(ctx context.Context, s *vault.Session) error {
		var err error
		if im, err = s.WriteImage(ctx, vault.ImageInput{Name: "disk0", Size: size, Read: sparseDisk{size}, Ranges: ranges(rs...)}); err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: "b1", CreatedAt: time.Now(), Images: []vault.Image{im}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := newRand(80)
	segments, each := indexEntries()
	for i := range segments {
		part := synthetic(r, fmt.Sprintf("s-x%d", i), each)
		if i == segments/2 {
			for info, err := range st.List(t.Context(), index.Prefix+"s-b1/") {
				if err != nil {
					t.Fatal(err)
				}
				data, err := st.Get(t.Context(), info.Name, index.MaxSegment)
				if err != nil {
					t.Fatal(err)
				}
				own, err := index.Decode(o.ring, info.Name, data, vault.DefaultChunkSize)
				if err != nil {
					t.Fatal(err)
				}
				part = index.Join(part, own)
				if err := st.Delete(t.Context(), info.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
		putPart(t, st, o.ring, "collect-00000001", part)
	}
	return st, im
}

// spread is so many pieces of 4 MiB over a disk.
func spread(size int64, pieces int) (rs []vault.Range) {
	for i := range pieces {
		rs = append(rs, vault.Range{Offset: size / int64(pieces) * int64(i) >> 22 << 22, Length: 4 << 20})
	}
	return rs
}

// counting counts the bytes of metadata that are read: all but chunks of disks.
type counting struct {
	blob.Storage

	meta     atomic.Int64
	atFirst  atomic.Int64 // when the first chunk was read
	requests atomic.Int64
}

func (c *counting) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := c.Storage.Get(ctx, name, limit)
	c.meta.Add(int64(len(data)))
	c.requests.Add(1)
	return data, err
}

func (c *counting) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	info, err := c.Stat(ctx, name)
	if err != nil {
		return err
	}
	toc := off+int64(len(p)) >= info.Size-pack.TrailerSize
	if strings.HasPrefix(name, "packs/") && strings.Contains(name, "/d") && !toc {
		c.atFirst.CompareAndSwap(0, c.meta.Load())
	} else {
		c.meta.Add(int64(len(p)))
		c.requests.Add(1)
	}
	return c.Storage.ReadAt(ctx, name, p, off)
}

// A host that has never seen the vault begins to restore an image of 8 GiB after
// at most 0.1 % of its size and 1 MiB of metadata, and needs no more for all of it.
func TestColdRestoreReadsLittle(t *testing.T) {
	const size = int64(8) << 30
	o := newOwner()
	inner, im := bigVault(t, o, t.TempDir(), size, spread(size, 16))
	st := &counting{Storage: inner}
	v, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Manifest(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	r, err := v.OpenImage(t.Context(), im)
	if err != nil {
		t.Fatal(err)
	}
	opened := st.meta.Load()
	var out discard
	if err := r.Restore(t.Context(), &out, vault.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if out.n.Load() != 64<<20 {
		t.Errorf("restored %d bytes", out.n.Load())
	}
	t.Logf("metadata: %d bytes to open, %d before the first chunk, %d in all, by %d requests", opened, st.atFirst.Load(), st.meta.Load(), st.requests.Load())
	if most := size/1000 + 1<<20; st.atFirst.Load() == 0 || st.meta.Load() > most {
		t.Errorf("%d bytes of metadata, more than %d", st.meta.Load(), most)
	}
}

// With a warm cache the index of a vault of 10 TiB takes next to no memory and no
// time to open. Another process measures, so that its memory is that alone.
func TestWarmIndexIsSmall(t *testing.T) {
	dir, key, cache := t.TempDir(), t.TempDir()+"/master", t.TempDir()
	const size = int64(64) << 20
	o := newOwner()
	var err error
	if o.master, err = keys.CreateMasterKey(key); err != nil {
		t.Fatal(err)
	}
	st, im := bigVault(t, o, dir, size, spread(size, 16))
	warm, err := vault.Open(t.Context(), st, o.ring, vault.WithIndexCache(cache))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backup(t.Context(), warm, "b2", make([]byte, 1<<20), "", ranges()); err != nil { // writers fill it
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childEnv+"=index", "HOLDFAST_TEST_DIR="+dir, "HOLDFAST_TEST_KEY="+key, "HOLDFAST_TEST_CACHE="+cache,
		"HOLDFAST_TEST_ROOT="+hex.EncodeToString(im.Root[:]), "HOLDFAST_TEST_SIZE="+strconv.FormatInt(size, 10))
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var opened, cpu, atOpen, atEnd, reads int64
	if _, err := fmt.Sscan(stdout.String(), &opened, &cpu, &atOpen, &atEnd, &reads); err != nil {
		t.Fatalf("%v: %q", err, stdout.String())
	}
	t.Logf("opened in %v (%v of CPU), anonymous memory grew by %d KiB, by %d KiB after 1000 random reads", time.Duration(opened), time.Duration(cpu), atOpen, atEnd)
	if time.Duration(opened) > time.Second || atOpen > 64<<10 || atEnd > raced*64<<10 {
		t.Error("that is too much")
	}
	if reads != 0 {
		t.Errorf("%d reads of the index in the storage", reads)
	}
}

// indexReads counts what is read of the index.
type indexReads struct {
	blob.Storage

	n atomic.Int64
}

func (s *indexReads) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	if strings.HasPrefix(name, index.Prefix) {
		s.n.Add(1)
	}
	return s.Storage.ReadAt(ctx, name, p, off)
}

func indexChild() error {
	ctx := context.Background()
	master, err := keys.LoadMasterKey(os.Getenv("HOLDFAST_TEST_KEY"))
	if err != nil {
		return err
	}
	inner, err := local.New(os.Getenv("HOLDFAST_TEST_DIR"))
	if err != nil {
		return err
	}
	st := &indexReads{Storage: inner}
	_, _, ring, err := vault.Unlock(ctx, st, master)
	if err != nil {
		return err
	}
	im := vault.Image{Name: "disk0"}
	if im.Size, err = strconv.ParseInt(os.Getenv("HOLDFAST_TEST_SIZE"), 10, 64); err != nil {
		return err
	}
	if _, err := hex.Decode(im.Root[:], []byte(os.Getenv("HOLDFAST_TEST_ROOT"))); err != nil {
		return err
	}
	before, err := anonymous()
	if err != nil {
		return err
	}
	began, busy := time.Now(), used()
	v, err := vault.Open(ctx, st, ring, vault.WithIndexCache(os.Getenv("HOLDFAST_TEST_CACHE")))
	if err != nil {
		return err
	}
	r, err := v.OpenImage(ctx, im)
	if err != nil {
		return err
	}
	opened, cpu := time.Since(began), used()-busy
	atOpen, err := anonymous()
	if err != nil {
		return err
	}
	p, want := make([]byte, 64<<10), make([]byte, 64<<10)
	x := newRand(81)
	for range 1000 {
		off := x.Int64N(im.Size/int64(len(p))) * int64(len(p))
		if _, err := r.ReadAt(p, off); err != nil {
			return err
		}
		if off%vault.DefaultChunkSize == 0 {
			if _, err := (sparseDisk{im.Size}).ReadAt(want, off); err != nil {
				return err
			}
			if !bytes.Equal(p, want) {
				return errors.New("wrong bytes")
			}
		}
	}
	atEnd, err := anonymous()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, int64(opened), int64(cpu), atOpen-before, atEnd-before, st.n.Load())
	return err
}

// used is the CPU time of this process, user's and system's.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// anonymous is the anonymous memory of this process, in KiB.
func anonymous() (int64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "RssAnon:"); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		}
	}
	return 0, errors.New("no RssAnon")
}
