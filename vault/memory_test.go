package vault_test

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/local"
)

// sparseDisk is a disk of any size with data in some ranges: noise that depends
// on the offset.
type sparseDisk struct{ size int64 }

func (d sparseDisk) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > d.size {
		return 0, io.ErrUnexpectedEOF
	}
	x := uint64(off)*2654435761 + 88172645463325252
	for i := 0; i+8 <= len(p); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(p[i:], x)
	}
	return len(p), nil
}

// peak samples the live heap until stop is called, which returns the highest
// amount in bytes above what was there at the start.
func peak() (stop func() int64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base := int64(m.HeapAlloc)
	var top atomic.Int64
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				top.Store(max(top.Load(), int64(m.HeapAlloc)-base))
			}
		}
	}()
	return func() int64 { close(quit); <-done; return top.Load() }
}

// discard is a writer that holds nothing and counts.
type discard struct{ n atomic.Int64 }

func (d *discard) WriteAt(p []byte, _ int64) (int, error) {
	d.n.Add(int64(len(p)))
	return len(p), nil
}

// A disk of 2 TiB with 320 MiB of data in 320 places, at the default sizes: full,
// incremental and restore stay within their bounds, whatever the disk's size.
func TestMemoryOnSparse2TiB(t *testing.T) {
	const size, step, piece = int64(2) << 40, int64(2) << 40 / 320, int64(1) << 20
	st, err := local.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := newOwner()
	c := o.config()
	c.ChunkSize, c.PackSize = 0, 0
	v, err := vault.Init(t.Context(), st, c)
	if err != nil {
		t.Fatal(err)
	}
	pieces := func(every int64) []vault.Range {
		var rs []vault.Range
		for off := int64(0); off+piece <= size; off += step * every {
			rs = append(rs, vault.Range{Offset: off / piece * piece, Length: piece})
		}
		return rs
	}
	write := func(id, parent string, rs []vault.Range) vault.Image {
		var im vault.Image
		err := v.Write(t.Context(), "s-"+id, func(ctx context.Context, s *vault.Session) error {
			in := vault.ImageInput{Name: "disk0", Size: size, Read: sparseDisk{size}, Ranges: ranges(rs...)}
			if parent != "" {
				in.Parent = &vault.Parent{Backup: parent, Image: "disk0"}
			}
			var err error
			if im, err = s.WriteImage(ctx, in); err != nil {
				return err
			}
			_, err = s.Commit(ctx, vault.Manifest{Backup: id, CreatedAt: time.Now(), Images: []vault.Image{im}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return im
	}
	stop := peak()
	began := time.Now()
	im := write("full", "", pieces(1))
	if top := stop(); top > 190<<20 {
		t.Errorf("full backup: peak heap %d MiB", top>>20)
	} else {
		t.Logf("full backup: peak heap %d MiB, %v, %d chunks", top>>20, time.Since(began), im.Chunks)
	}
	if im.Read != 320*piece && im.Read != 321*piece {
		t.Errorf("read %d bytes", im.Read)
	}
	inc := write("inc", "full", pieces(32))
	if inc.Changed != 0 || inc.Chunks != im.Chunks || inc.Root != im.Root {
		t.Errorf("an incremental without changes: %+v", inc)
	}
	verifySparse(t, v, im)
	testRestoreMemory(t, v, im)
}

func verifySparse(t *testing.T, v *vault.Vault, im vault.Image) {
	t.Helper()
	r, err := v.OpenImage(t.Context(), im)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for x, err := range r.Extents(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%50 != 1 {
			continue
		}
		got, want := make([]byte, 256<<10), make([]byte, 256<<10)
		if _, err := r.ReadAt(got, x.Offset); err != nil {
			t.Fatal(err)
		}
		if _, err := (sparseDisk{im.Size}).ReadAt(want, x.Offset); err != nil {
			t.Fatal(err)
		}
		if firstDiff(got, want) != len(got) {
			t.Fatalf("wrong bytes at %d", x.Offset)
		}
	}
	if n < 320 {
		t.Errorf("%d extents", n)
	}
}

func testRestoreMemory(t *testing.T, v *vault.Vault, im vault.Image) {
	t.Helper()
	r, err := v.OpenImage(t.Context(), im)
	if err != nil {
		t.Fatal(err)
	}
	stop := peak()
	var out discard
	var last, checkpoint int64
	err = r.Restore(t.Context(), &out, vault.RestoreOptions{
		Progress: func(done, total int64) {
			if done < last || done > total {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
		},
		Checkpoint: func(offset int64) error {
			if offset <= checkpoint {
				t.Errorf("checkpoint %d after %d", offset, checkpoint)
			}
			checkpoint = offset
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	top := stop()
	if top > 64<<20 {
		t.Errorf("restore: peak heap %d MiB", top>>20)
	}
	t.Logf("restore: peak heap %d MiB", top>>20)
	if want := int64(im.Chunks) * vault.DefaultChunkSize; out.n.Load() != want || last != want || checkpoint != im.Size {
		t.Errorf("restored %d of %d bytes, progress %d, checkpoint %d", out.n.Load(), want, last, checkpoint)
	}
}
