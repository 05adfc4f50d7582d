package s3_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/local"
	"holdfast/vault/blob/s3"
	"holdfast/vault/blob/s3/s3test"
)

// Both keep their bytes on the same file system; versitygw runs on the same
// cores, so that its own work is in the figures.
func places(b *testing.B) map[string]blob.Storage {
	b.Helper()
	st, err := local.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	return map[string]blob.Storage{"local": st, "s3": open(b, s3test.Gateway(b).Bucket(b, "bench", false))}
}

func BenchmarkPutPack(b *testing.B) {
	data := noise(32<<20, 1)
	for name, st := range places(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			n := 0
			for b.Loop() {
				n++
				blobName := fmt.Sprintf("packs/p-%d-%d", b.N, n)
				put(b, st, blobName, data)
				b.StopTimer()
				if err := st.Delete(b.Context(), blobName); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	data := noise(32<<20, 1)
	for name, st := range places(b) {
		put(b, st, "packs/p", data)
		for _, size := range []int{64 << 10, 1 << 20, 8 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				p := make([]byte, size)
				off := 0
				for b.Loop() {
					if err := st.ReadAt(b.Context(), "packs/p", p, int64(off)); err != nil {
						b.Fatal(err)
					}
					off = (off + size) % (len(data) - size)
				}
			})
		}
	}
}

func BenchmarkSmall(b *testing.B) {
	for name, st := range places(b) {
		b.Run(name+"/put", func(b *testing.B) {
			n := 0
			for b.Loop() {
				n++
				put(b, st, fmt.Sprintf("small/%d-%d", b.N, n), []byte("tombstone"))
			}
		})
		b.Run(name+"/stat absent", func(b *testing.B) {
			for b.Loop() {
				if _, err := st.Stat(b.Context(), "tombstones/x"); err == nil {
					b.Fatal("it is there")
				}
			}
		})
	}
}

// A whole vault: 128 MiB that do not compress, in packs of the usual size.
func BenchmarkVault(b *testing.B) {
	disk := noise(128<<20, 1)
	for name, st := range places(b) {
		v, _ := newVault(b, st, 0)
		n := 0
		b.Run(name+"/backup", func(b *testing.B) {
			b.SetBytes(int64(len(disk)))
			for b.Loop() {
				n++
				b.StopTimer()
				disk = noise(len(disk), uint64(n))
				b.StartTimer()
				backup(b, v, fmt.Sprintf("b%d", n), disk, "", vault.Range{Length: int64(len(disk))})
			}
		})
		b.Run(name+"/restore", func(b *testing.B) {
			b.SetBytes(int64(len(disk)))
			for b.Loop() {
				restore(b, v, fmt.Sprintf("b%d", n), len(disk))
			}
		})
	}
}

// near is a bucket that hides how many reads at once pay off.
type near struct{ *s3.Storage }

func (near) InFlight() int { return 1 }

// A restore over a line with a latency: every request takes so much longer.
func BenchmarkRestoreFromAfar(b *testing.B) {
	server := s3test.Fake(b)
	disk := noise(128<<20, 1)
	st := open(b, server.Bucket(b, "afar", false))
	v, ring := newVault(b, st, 0)
	backup(b, v, "b1", disk, "", vault.Range{Length: int64(len(disk))})
	for _, latency := range []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond} {
		proxy := s3test.NewProxy(b, server)
		proxy.Handle(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			<-time.After(latency)
			pass.ServeHTTP(w, r)
		})
		c := withEndpoint(b, server, "afar")
		c.Endpoint = proxy.URL
		far := open(b, c)
		for name, st := range map[string]blob.Storage{"two at once": near{far}, "sixteen": far} {
			b.Run(fmt.Sprintf("%s/%s", latency, name), func(b *testing.B) {
				b.SetBytes(int64(len(disk)))
				for b.Loop() {
					v, err := vault.Open(b.Context(), st, ring)
					if err != nil {
						b.Fatal(err)
					}
					restore(b, v, "b1", len(disk))
				}
			})
		}
	}
}
