package check_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/local"
	"holdfast/vault/check"
	"holdfast/vault/chunk"
	"holdfast/vault/keys"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// benchDisk is text, code-like bytes and noise, all of it different.
func benchDisk() []byte {
	const block = 64 << 10
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // repeatable
	disk := make([]byte, 256<<20)
	for off := 0; off < len(disk); off += block {
		p := disk[off : off+block]
		switch kind := r.IntN(4); kind {
		case 0:
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		default:
			p = p[:0]
			for len(p) < block-100 {
				p = fmt.Appendf(p, "%d vps-%d kernel: [%d.%06d] eth0: link up, %d Mbit/s\n", off, r.IntN(50), r.IntN(9999), r.IntN(999999), r.IntN(1000))
			}
		}
	}
	return disk
}

// BenchmarkReadData is the proof of every byte of a vault, and Bare the limit: to
// open, decode and hash each chunk once.
func BenchmarkReadData(b *testing.B) {
	dir, ring, disk := b.TempDir(), keys.NewRing(), benchDisk()
	st, err := local.New(dir)
	if err != nil {
		b.Fatal(err)
	}
	v, err := vault.Init(b.Context(), st, vault.Config{Account: "acc", Ring: ring, WrappedRing: keys.NewAccountKey().WrapRing("acc", ring)})
	if err != nil {
		b.Fatal(err)
	}
	err = v.Write(b.Context(), "s", func(ctx context.Context, s *vault.Session) error {
		im, err := s.WriteImage(ctx, vault.ImageInput{Name: "d", Size: int64(len(disk)), Read: bytes.NewReader(disk),
			Ranges: func(yield func(vault.Range, error) bool) { yield(vault.Range{Length: int64(len(disk))}, nil) }})
		if err == nil {
			_, err = s.Commit(ctx, vault.Manifest{Backup: "b", CreatedAt: time.Now(), Images: []vault.Image{im}})
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check", func(b *testing.B) {
		began := userCPU(b)
		for b.Loop() {
			if r, err := check.Run(b.Context(), v, check.Options{ReadData: true}); err != nil || !r.OK {
				b.Fatalf("%v, %+v", err, r)
			}
		}
		b.ReportMetric((userCPU(b)-began)/float64(b.N), "user-s/op")
	})
	b.Run("bare", func(b *testing.B) {
		var packs [][]byte
		for info, err := range st.List(b.Context(), pack.Prefix) {
			if err != nil {
				b.Fatal(err)
			}
			data, err := st.Get(b.Context(), info.Name, pack.MaxSize)
			if err != nil {
				b.Fatal(err)
			}
			packs = append(packs, append([]byte(info.Name+"\x00"), data...))
		}
		began := userCPU(b)
		for b.Loop() {
			bare(b, ring, packs)
		}
		b.ReportMetric((userCPU(b)-began)/float64(b.N), "user-s/op")
	})
}

func bare(b *testing.B, ring keys.Ring, packs [][]byte) {
	hash := chunk.NewHasher(ring)
	dec, err := chunk.NewDecoder(vault.DefaultChunkSize)
	if err != nil {
		b.Fatal(err)
	}
	plain, opened := make([]byte, vault.DefaultChunkSize), make([]byte, 0, vault.DefaultChunkSize)
	for _, p := range packs {
		name, data, _ := bytes.Cut(p, []byte{0})
		info, entries, err := pack.ParseTOC(ring, string(name), data, vault.DefaultChunkSize)
		if err != nil {
			b.Fatal(err)
		}
		box, err := seal.NewBox(ring, info.Header())
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			payload, err := box.Open(opened[:0], data[e.Offset:e.Offset+e.Sealed], e.Frame())
			if err != nil {
				b.Fatal(err)
			}
			out, err := dec.Decode(plain, e.Codec, payload, int(e.Plain))
			if err != nil || hash.Sum(e.Kind, out) != e.ID {
				b.Fatal(err)
			}
		}
	}
}

func userCPU(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec) + float64(u.Utime.Usec)/1e6
}
