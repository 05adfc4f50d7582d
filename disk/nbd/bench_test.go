package nbd

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkRead reads 256 MiB of data from qemu-nbd.
func BenchmarkRead(b *testing.B) {
	const size = 256 << 20
	socket := export(b, "256M")
	n := dial(b, socket)
	buf := make([]byte, 8<<20)
	for i := range buf {
		buf[i] = byte(i * 7)
	}
	for off := int64(0); off < size; off += int64(len(buf)) {
		if _, err := n.WriteAt(buf, off); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct{ conns, flight, block int }{
		{1, 1, 1 << 20}, {1, 4, 1 << 20}, {1, 8, 1 << 20}, {2, 2, 1 << 20}, {2, 4, 1 << 20},
		{4, 4, 1 << 20}, {1, 8, 256 << 10}, {2, 4, 256 << 10}, {4, 4, 256 << 10}, {2, 2, 4 << 20},
	} {
		b.Run(fmt.Sprintf("conns=%d/flight=%d/KiB=%d", c.conns, c.flight, c.block>>10), func(b *testing.B) {
			var conns []*Conn
			for range c.conns {
				conns = append(conns, dial(b, socket))
			}
			b.SetBytes(size)
			for b.Loop() {
				var next atomic.Int64
				var group sync.WaitGroup
				for i := range c.conns * c.flight {
					group.Go(func() {
						p := make([]byte, c.block)
						for {
							off := next.Add(int64(c.block)) - int64(c.block)
							if off >= size {
								return
							}
							if _, err := conns[i%c.conns].ReadAt(p, off); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				group.Wait()
			}
		})
	}
}
