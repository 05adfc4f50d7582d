package nbd

import (
	"context"
	"sync"
	"testing"
	"time"
)

// FuzzServer plays any bytes as a server: whatever they are, requests end, with
// an error or not, and nothing panics.
func FuzzServer(f *testing.F) {
	data := make([]byte, 512)
	for _, s := range []*stream{
		new(stream), new(stream).put("garbage"), hello(),
		hello().chunk(chunkDone, chunkOffsetData, 1, uint64(0), data),
		hello().chunk(0, chunkOffsetHole, 1, uint64(0), uint32(512)).chunk(chunkDone, chunkNone, 1),
		hello().chunk(chunkDone, chunkBlockStatus, 2, uint32(fakeContext), uint32(512), uint32(1)),
		hello().chunk(chunkDone, chunkErrorBit|1, 1, uint32(5), uint16(2), "no"),
		hello().put(uint32(magicSimple), uint32(0), uint64(3)),
		hello().put(uint32(magicSimple), uint32(28), uint64(3)).chunk(chunkDone, chunkOffsetData, 2, uint64(0), data),
	} {
		f.Add(s.Bytes())
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		n, err := New(ctx, serve(t, sent), Options{Export: "disk0", Contexts: []string{BaseAllocation}, Timeout: time.Second})
		if err != nil {
			return
		}
		var group sync.WaitGroup
		group.Go(func() { _, _ = n.ReadAt(make([]byte, min(512, n.Size())), 0) })
		group.Go(func() {
			list, err := n.BlockStatus(ctx, BaseAllocation, 0, min(1024, n.Size()))
			end := int64(0)
			for _, e := range list {
				if e.Offset != end || e.Length <= 0 || end+e.Length > n.Size() {
					t.Errorf("extent %+v (%v)", e, err)
				}
				end += e.Length
			}
		})
		group.Go(func() { _ = n.Trim(ctx, 0, min(512, n.Size())) })
		group.Wait()
		if ctx.Err() != nil {
			t.Error("a request hung")
		}
		_ = n.Close()
	})
}
