package vault

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/blob/local"
	"holdfast/vault/blob/mem"
	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/keys"
	"holdfast/vault/pack"
	"holdfast/vault/tree"
)

// hollow shows packs that are in the index only: marking never reads a disk's data.
type hollow struct {
	blob.Storage
	packs []blob.Info
}

// List adds the hollow packs.
func (h *hollow) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range h.Storage.List(ctx, prefix) {
			if !yield(info, err) {
				return
			}
		}
		for _, p := range h.packs {
			if strings.HasPrefix(p.Name, prefix) && !yield(p, nil) {
				return
			}
		}
	}
}

const (
	markedChunks  = 1_000_000
	markedBackups = 10
	perHollowPack = 128 // 32 MiB of chunks of 256 KiB
)

// hollowVault has backups of one disk of so many chunks, each with a hundredth of
// them changed, in runs of the given length, and index segments as its writers
// would have put them.
func hollowVault(t testing.TB, st blob.Storage, chunks, run uint64) (*hollow, keys.Ring) {
	t.Helper()
	h := &hollow{Storage: st}
	account, ring := keys.NewAccountKey(), keys.NewRing()
	v, err := Init(t.Context(), h, Config{Account: "acc-1", Ring: ring, WrappedRing: account.WrapRing("acc-1", ring)})
	if err != nil {
		t.Fatal(err)
	}
	w := &hollowWriter{t: t, v: v, h: h, size: int64(chunks) * DefaultChunkSize} //nolint:gosec // small
	var parent tree.Root
	for b := range markedBackups {
		err := v.Write(t.Context(), fmt.Sprintf("s%d", b), func(ctx context.Context, s *Session) error {
			every := run
			if b > 0 {
				every = 100 * run
			}
			im, root, err := w.image(ctx, s, parent, uint64(b)*run, run, every) //nolint:gosec // small
			if err != nil {
				return err
			}
			parent = root
			_, err = s.Commit(ctx, Manifest{Backup: fmt.Sprintf("b%d", b), CreatedAt: time.Now(), Images: []Image{im}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return h, ring
}

type hollowWriter struct {
	t    testing.TB
	v    *Vault
	h    *hollow
	size int64
	next uint64
	cur  index.Contents
}

func (w *hollowWriter) image(ctx context.Context, s *Session, parent tree.Root, from, run, every uint64) (Image, tree.Root, error) {
	iw, err := s.newImageWriter(ctx, ImageInput{Name: "disk0", Size: w.size})
	if err != nil {
		return Image{}, parent, err
	}
	b, err := tree.NewBuilder(ctx, iw, chunks(w.size, DefaultChunkSize), parent)
	if err != nil {
		return Image{}, parent, err
	}
	for i := from; i < chunks(w.size, DefaultChunkSize); i += every {
		for j := i; j < min(i+run, chunks(w.size, DefaultChunkSize)); j++ {
			if _, err := b.Set(ctx, j, w.chunk(s)); err != nil {
				return Image{}, parent, err
			}
		}
	}
	w.pack(s)
	root, count, err := b.Finish(ctx)
	return Image{Name: "disk0", Size: w.size, Root: root.ID, Chunks: count}, root, err
}

// chunk makes up an id, evenly spread as real ones are.
func (w *hollowWriter) chunk(s *Session) (id chunk.ID) {
	w.next++
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], w.next)
	sc, err := w.v.borrow()
	if err != nil {
		w.t.Fatal(err)
	}
	id = sc.hash.Sum(chunk.Data, raw[:])
	w.v.scratch.Put(sc)
	n := uint32(len(w.cur.Entries)) //nolint:gosec // small
	w.cur.Entries = append(w.cur.Entries, pack.Entry{ID: id, Codec: chunk.Zstd, Ordinal: n, Offset: 48 + n*100_000, Sealed: 100_000, Plain: DefaultChunkSize})
	if len(w.cur.Entries) == perHollowPack {
		w.pack(s)
	}
	return id
}

func (w *hollowWriter) pack(s *Session) {
	if len(w.cur.Entries) == 0 {
		return
	}
	c := w.cur
	w.cur = index.Contents{}
	count := len(c.Entries)
	c.Info = pack.NewInfo(s.id, pack.Data, 1)
	c.Info.Count = uint32(count)                                      //nolint:gosec // small
	c.Info.Size = uint32(int64(count)*100_000 + pack.Overhead(count)) //nolint:gosec // small
	w.h.packs = append(w.h.packs, blob.Info{Name: c.Info.Name(), Size: int64(c.Info.Size)})
	if err := s.durable(c); err != nil {
		w.t.Fatal(err)
	}
}

// peak runs do and returns the most heap in use meanwhile, beyond what was before.
func peak(do func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, top := m.HeapInuse, uint64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				top = max(top, m.HeapInuse)
			}
		}
	}()
	do()
	close(stop)
	<-done
	return top - min(before, top)
}

// userTime is the processor time of this process, which other load hardly changes.
func userTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}

// BenchmarkMark plans a collection of a vault of a million chunks, opened anew,
// in a directory: ten backups, each a hundredth of the disk younger than the one
// before, in runs of 64 chunks, or, at worst, in single ones, so that no two
// backups share a leaf of their trees.
func BenchmarkMark(b *testing.B) {
	for _, run := range []uint64{64, 1} {
		b.Run(fmt.Sprintf("run=%d", run), func(b *testing.B) {
			st, err := local.New(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			h, ring := hollowVault(b, st, markedChunks, run)
			var most uint64
			cpu := userTime(b)
			for b.Loop() {
				v, err := Open(b.Context(), h, ring)
				if err != nil {
					b.Fatal(err)
				}
				most = max(most, peak(func() {
					p, err := v.PlanCollection(b.Context(), CollectOptions{})
					if err != nil || p.Chunks < markedChunks || p.Missing > 0 {
						b.Fatalf("%v, %v", p, err)
					}
				}))
			}
			b.ReportMetric(float64(most)/(1<<20), "MiB-peak")
			b.ReportMetric((userTime(b)-cpu).Seconds()/float64(b.N), "user-s/op")
		})
	}
}

// Marking keeps to its memory, at a tenth of the benchmark's size.
func TestMarkMemory(t *testing.T) {
	h, ring := hollowVault(t, mem.New(), markedChunks/10, 1)
	v, err := Open(t.Context(), h, ring)
	if err != nil {
		t.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	var p *CollectionPlan
	n := peak(func() { p, err = v.PlanCollection(t.Context(), CollectOptions{}) })
	if err != nil || p.Chunks < markedChunks/10 || p.Missing > 0 || len(p.Condemned) > 0 {
		t.Fatalf("%v, %v", p, err)
	}
	if n > 60<<20 {
		t.Errorf("%d bytes of memory", n)
	}
}
