package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/chunk"
	"holdfast/vault/keys"
	"holdfast/vault/seal"
)

// benchDisk is HOLDFAST_BENCH_IMAGE if set, else 256 MiB made of this program's
// own machine code, text, noise and zeros.
var benchDisk = sync.OnceValue(func() []byte {
	if path := os.Getenv("HOLDFAST_BENCH_IMAGE"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		return data
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	code, err := os.ReadFile(self)
	if err != nil {
		panic(err)
	}
	const block = 64 << 10
	r := newRand(1)
	disk := make([]byte, 256<<20)
	for off := 0; off < len(disk); off += block {
		p := disk[off : off+block]
		switch r.IntN(10) {
		case 0, 1: // zeros
		case 2: // noise
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		case 3, 4: // text
			p = p[:0]
			for len(p) < block-100 {
				p = fmt.Appendf(p, "%s vps-%d kernel: [%d.%06d] eth0: link up, %d Mbit/s\n", time.Unix(int64(off), 0).UTC(), r.IntN(50), r.IntN(9999), r.IntN(999999), r.IntN(1000))
			}
		default: // code, each block its own
			copy(p, code[r.IntN(len(code)-block):])
			for i := 0; i < len(p); i += 4096 {
				p[i] = byte(r.Uint32())
			}
		}
	}
	return disk
})

var benchSizes = []int{256 << 10, 512 << 10, 1 << 20}

// userCPU is what this process has used, in seconds.
func userCPU(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec) + float64(u.Utime.Usec)/1e6
}

func perSize(b *testing.B, run func(b *testing.B, size int)) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("chunk=%dKiB", size>>10), func(b *testing.B) {
			disk := benchDisk()
			b.SetBytes(int64(len(disk)))
			began := userCPU(b)
			run(b, size)
			b.ReportMetric((userCPU(b)-began)/float64(b.N), "user-s/op")
		})
	}
}

func benchVault(b *testing.B, size int) (*vault.Vault, *local.Storage) {
	st, err := local.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	c := newOwner().config()
	c.ChunkSize, c.PackSize = size, 0
	v, err := vault.Init(b.Context(), st, c)
	if err != nil {
		b.Fatal(err)
	}
	return v, st
}

// BenchmarkBare is the limit: hash, compress and seal every chunk that is not
// zeros, on two cores, and store nothing.
func BenchmarkBare(b *testing.B) {
	perSize(b, func(b *testing.B, size int) {
		disk := benchDisk()
		for b.Loop() {
			bare(b, disk, size)
		}
	})
}

func bare(b *testing.B, disk []byte, size int) {
	ring := keys.NewRing()
	box, err := seal.NewBox(ring, seal.NewHeader(seal.Pack, ring.Current()))
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			enc, err := chunk.NewEncoder(size)
			if err != nil {
				b.Error(err)
				return
			}
			hash := chunk.NewHasher(ring)
			var out []byte
			for {
				off := int(next.Add(1)-1) * size
				if off >= len(disk) {
					return
				}
				p := disk[off:min(off+size, len(disk))]
				if chunk.IsZeros(p) {
					continue
				}
				id := hash.Sum(chunk.Data, p)
				codec, payload := enc.Encode(p)
				out = box.Seal(out[:0], payload, seal.Frame{Ordinal: uint64(off), ID: id, Codec: byte(codec)})
			}
		})
	}
	wg.Wait()
}

// BenchmarkFull writes the disk into an empty vault in a local directory.
func BenchmarkFull(b *testing.B) {
	perSize(b, func(b *testing.B, size int) {
		disk := benchDisk()
		var stored int64
		for b.Loop() {
			v, _ := benchVault(b, size)
			stored = mustBackup(b, v, "b1", disk, "", whole(disk)).Stats.UploadedBytes
		}
		b.ReportMetric(float64(stored)/float64(len(disk)), "stored/disk")
	})
}

// BenchmarkIncremental changes 1 % of the disk in places of 64 KiB.
func BenchmarkIncremental(b *testing.B) {
	perSize(b, func(b *testing.B, size int) {
		disk := clone(benchDisk())
		v, _ := benchVault(b, size)
		mustBackup(b, v, "b0", disk, "", whole(disk))
		r := newRand(2)
		n := 0
		var uploaded int64
		for b.Loop() {
			b.StopTimer()
			n++
			var rs []vault.Range
			for off := 0; off+100*65536 <= len(disk); off += 100 * 65536 {
				at := off + r.IntN(99)*65536
				for i := range 65536 / 16 {
					disk[at+16*i] = byte(r.Uint32())
				}
				rs = append(rs, vault.Range{Offset: int64(at), Length: 65536})
			}
			b.StartTimer()
			uploaded += mustBackup(b, v, fmt.Sprintf("b%d", n), disk, fmt.Sprintf("b%d", n-1), ranges(rs...)).Stats.UploadedBytes
		}
		b.ReportMetric(float64(uploaded)/float64(b.N)/float64(len(disk)), "uploaded/disk")
	})
}

// BenchmarkRestore writes the disk into a fresh sparse file.
func BenchmarkRestore(b *testing.B) {
	perSize(b, func(b *testing.B, size int) {
		disk := benchDisk()
		v, _ := benchVault(b, size)
		m := mustBackup(b, v, "b1", disk, "", whole(disk))
		path := b.TempDir() + "/out"
		for b.Loop() {
			restoreTo(b, v, m.Images[0], path)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, disk) {
			b.Fatalf("restored wrong bytes: %v", err)
		}
	})
}

func restoreTo(b *testing.B, v *vault.Vault, im vault.Image, path string) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Truncate(im.Size); err != nil {
		b.Fatal(err)
	}
	r, err := v.OpenImage(context.Background(), im)
	if err == nil {
		err = r.Restore(context.Background(), f, vault.RestoreOptions{})
	}
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRandomRead reads 64 KiB anywhere, and tells the middle and the slowest
// hundredth of the reads.
func BenchmarkRandomRead(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("chunk=%dKiB", size>>10), func(b *testing.B) {
			disk := benchDisk()
			v, _ := benchVault(b, size)
			m := mustBackup(b, v, "b1", disk, "", whole(disk))
			im, err := v.OpenImage(b.Context(), m.Images[0])
			if err != nil {
				b.Fatal(err)
			}
			r := newRand(3)
			p := make([]byte, 64<<10)
			var took []time.Duration
			for b.Loop() {
				off := r.Int64N(int64(len(disk)-len(p))) &^ 4095
				began := time.Now()
				if _, err := im.ReadAt(p, off); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e6, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e6, "p99-ms")
		})
	}
}

// BenchmarkSame compares 64 chunks, at random, of a disk in memory with their
// image: what an incremental backup does to prove its change tracking.
func BenchmarkSame(b *testing.B) {
	disk := benchDisk()
	v, _ := benchVault(b, vault.DefaultChunkSize)
	m := mustBackup(b, v, "b1", disk, "", whole(disk))
	r := newRand(5)
	b.SetBytes(64 * vault.DefaultChunkSize)
	for b.Loop() {
		im, err := v.OpenImage(b.Context(), m.Images[0])
		if err != nil {
			b.Fatal(err)
		}
		for range 64 {
			i := r.IntN(len(disk) / vault.DefaultChunkSize)
			p := disk[i*vault.DefaultChunkSize : (i+1)*vault.DefaultChunkSize]
			if same, err := im.Same(uint64(i), p); err != nil || !same {
				b.Fatal(same, err)
			}
		}
	}
}
