package nbd

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// The server of an export is a compromised hypervisor process here.

func TestHostileHandshake(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	start := func() *stream { return new(stream).put(magicServer, uint16(flagFixedNewstyle)) }
	ready := func() *stream { return start().option(optStructured, repAck, nil) }
	withContext := func() *stream {
		return ready().option(optMetaContext, repMetaContext, append(be.AppendUint32(nil, 1), BaseAllocation...)).
			option(optMetaContext, repAck, nil)
	}
	endless := ready()
	for range maxOptionReplies + 1 {
		endless.option(optMetaContext, repMetaContext, append(be.AppendUint32(nil, 1), BaseAllocation...))
	}
	for name, c := range map[string]struct {
		sent *stream
		want error
	}{
		"hangs up":                  {new(stream), io.EOF},
		"other protocol":            {new(stream).put("SSH-2.0-OpenSSH_9.2p1\r\n"), ErrProtocol},
		"old style":                 {new(stream).put(magicServer, uint16(0)), ErrProtocol},
		"no structured replies":     {start().option(optStructured, repErrorBit|1, nil), ErrUnsupported},
		"wrong magic":               {start().put(uint64(1), uint64(2), uint32(3)), ErrProtocol},
		"answer to another option":  {start().option(optGo, repAck, nil), ErrProtocol},
		"option reply of 4 GiB":     {start().put(uint64(magicOptReply), uint32(optStructured), uint32(repAck), uint32(math.MaxUint32)), ErrProtocol},
		"context reply too short":   {ready().option(optMetaContext, repMetaContext, []byte{1}), ErrProtocol},
		"context missing":           {ready().option(optMetaContext, repAck, nil), ErrUnsupported},
		"endless contexts":          {endless, ErrProtocol},
		"export unknown":            {withContext().option(optGo, repErrorBit|6, []byte("no such export")), nil},
		"export without size":       {withContext().option(optGo, repAck, nil), ErrProtocol},
		"export info too short":     {withContext().option(optGo, repInfo, []byte{0, 0, 1}), ErrProtocol},
		"export info empty":         {withContext().option(optGo, repInfo, nil), ErrProtocol},
		"export of 16 EiB":          {withContext().export(math.MaxUint64), ErrProtocol},
		"export reply out of place": {withContext().option(optGo, repMetaContext, nil), ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := client(t, c.sent)
			if err == nil {
				_ = n.Close()
				t.Fatal("accepted")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestHostileReplies(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	a := func() *stream { return new(stream) }
	data := make([]byte, 4096)
	for name, answer := range map[string]*stream{
		"unknown magic":          a().put(uint64(0), uint64(0)),
		"unknown request":        a().chunk(chunkDone, chunkNone, 99),
		"simple answer":          a().put(uint32(magicSimple), uint32(0), uint64(1)),
		"nothing":                a().chunk(chunkDone, chunkNone, 1),
		"too little":             a().chunk(chunkDone, chunkOffsetData, 1, uint64(8192), data[:100]),
		"too much":               a().chunk(chunkDone, chunkOffsetData, 1, uint64(8192), data, data),
		"elsewhere":              a().chunk(chunkDone, chunkOffsetData, 1, uint64(0), data),
		"before the request":     a().chunk(chunkDone, chunkOffsetData, 1, uint64(8191), data),
		"far away":               a().chunk(chunkDone, chunkOffsetData, 1, uint64(math.MaxUint64), data),
		"twice the same":         a().chunk(0, chunkOffsetData, 1, uint64(8192), data[:2048]).chunk(chunkDone, chunkOffsetData, 1, uint64(8192), data[:2048]),
		"data without any":       a().chunk(chunkDone, chunkOffsetData, 1, uint64(8192)),
		"hole too long":          a().chunk(chunkDone, chunkOffsetHole, 1, uint64(8192), uint32(4097)),
		"hole of 4 GiB":          a().chunk(chunkDone, chunkOffsetHole, 1, uint64(8192), uint32(math.MaxUint32)),
		"hole of nothing":        a().chunk(0, chunkOffsetHole, 1, uint64(8192), uint32(0)),
		"hole of wrong form":     a().chunk(chunkDone, chunkOffsetHole, 1, uint64(8192)),
		"status to a read":       a().chunk(chunkDone, chunkBlockStatus, 1, uint32(fakeContext), uint32(1), uint32(0)),
		"unknown kind":           a().chunk(chunkDone, 77, 1),
		"empty part without end": a().chunk(0, chunkNone, 1),
		"error too short":        a().chunk(chunkDone, chunkErrorBit|1, 1, uint32(5)),
		"error without error":    a().chunk(chunkDone, chunkErrorBit|1, 1, uint32(0), uint16(0)),
		"error text beyond":      a().chunk(chunkDone, chunkErrorBit|1, 1, uint32(5), uint16(9)),
		"error of 4 GiB":         a().put(uint32(magicStructured), uint16(1), uint16(chunkErrorBit|1), uint64(1), uint32(math.MaxUint32)),
		"silence":                a(),
	} {
		t.Run(name, func(t *testing.T) {
			n := scripted(t, answer)
			got, err := n.ReadAt(make([]byte, 4096), 8192)
			want := ErrProtocol
			if name == "silence" {
				want = os.ErrDeadlineExceeded
			}
			if got != 0 || !errors.Is(err, want) {
				t.Errorf("read %d, %v; want %v", got, err, want)
			}
			if _, err := n.ReadAt(make([]byte, 1), 0); err == nil {
				t.Error("the connection is still in use")
			}
		})
	}
}

func TestHostileStatus(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	id := uint32(fakeContext)
	a := func() *stream { return new(stream) }
	for name, answer := range map[string]*stream{
		"no extents":         a().chunk(chunkDone, chunkBlockStatus, 1, id),
		"nothing":            a().chunk(chunkDone, chunkNone, 1),
		"unknown context":    a().chunk(chunkDone, chunkBlockStatus, 1, uint32(8), uint32(512), uint32(0)),
		"twice":              a().chunk(0, chunkBlockStatus, 1, id, uint32(512), uint32(0)).chunk(chunkDone, chunkBlockStatus, 1, id, uint32(512), uint32(0)),
		"empty extent":       a().chunk(chunkDone, chunkBlockStatus, 1, id, uint32(0), uint32(0)),
		"beyond the disk":    a().chunk(chunkDone, chunkBlockStatus, 1, id, uint32(fakeSize+1), uint32(0)),
		"after the request":  a().chunk(chunkDone, chunkBlockStatus, 1, id, uint32(65536), uint32(0), uint32(512), uint32(0)),
		"half an extent":     a().chunk(chunkDone, chunkBlockStatus, 1, id, uint32(512), uint32(0), uint32(1)),
		"4 GiB of extents":   a().put(uint32(magicStructured), uint16(1), uint16(chunkBlockStatus), uint64(1), uint32(math.MaxUint32-3)),
		"data to a status":   a().chunk(chunkDone, chunkOffsetData, 1, uint64(0), []byte("x")),
		"simple to a status": a().put(uint32(magicSimple), uint32(0), uint64(1)),
	} {
		t.Run(name, func(t *testing.T) {
			n := scripted(t, answer)
			got, err := n.BlockStatus(t.Context(), BaseAllocation, 0, 65536)
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestReplies(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	data := bytes.Repeat([]byte("holdfast"), 256)
	n := scripted(t,
		new(stream).chunk(0, chunkOffsetData, 1, uint64(8192), data).chunk(chunkDone, chunkOffsetHole, 1, uint64(8192+2048), uint32(2048)),
		new(stream).chunk(chunkDone, chunkErrorOffset, 2, uint32(syscall.EIO), uint16(3), "bad", uint64(0)),
		new(stream).chunk(0, chunkErrorBit|1, 3, uint32(syscall.EINVAL), uint16(0)).chunk(chunkDone, chunkNone, 3),
		new(stream).put(uint32(magicSimple), uint32(syscall.ENOSPC), uint64(4)),
		new(stream).chunk(chunkDone, chunkBlockStatus, 5, uint32(fakeContext), uint32(512), uint32(3), uint32(1024), uint32(0)),
	)
	p := bytes.Repeat([]byte{0xee}, 4096)
	if k, err := n.ReadAt(p, 8192); k != 4096 || err != nil || !bytes.Equal(p, append(data, make([]byte, 2048)...)) {
		t.Errorf("read %d, %v", k, err)
	}
	var refused *Error
	if _, err := n.ReadAt(p, 0); !errors.Is(err, syscall.EIO) || !errors.As(err, &refused) || refused.Msg != "bad" {
		t.Errorf("got %v", err)
	}
	if _, err := n.ReadAt(p, 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v", err)
	}
	if err := n.Trim(t.Context(), 0, 512); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	list, err := n.BlockStatus(t.Context(), BaseAllocation, 512, 1000)
	want := []Extent{{512, 512, 3}, {1024, 488, 0}}
	if err != nil || len(list) != 2 || list[0] != want[0] || list[1] != want[1] {
		t.Errorf("got %v, %v", list, err)
	}
}

func TestOutOfRange(t *testing.T) {
	n := scripted(t)
	for _, c := range [][2]int64{{-1, 10}, {fakeSize - 9, 10}, {fakeSize, 1}, {math.MaxInt64, 10}, {0, math.MaxInt64}, {0, -1}} {
		if err := n.Trim(t.Context(), c[0], c[1]); err == nil {
			t.Errorf("trim of %v", c)
		}
		if _, err := n.BlockStatus(t.Context(), BaseAllocation, c[0], c[1]); err == nil {
			t.Errorf("status of %v", c)
		}
	}
	if _, err := n.ReadAt(make([]byte, 10), fakeSize-9); err == nil {
		t.Error("read across the end")
	}
	if _, err := n.WriteAt(make([]byte, 10), -1); err == nil {
		t.Error("write before the beginning")
	}
	if _, err := n.BlockStatus(t.Context(), "qemu:other", 0, 1); !errors.Is(err, ErrUnsupported) {
		t.Errorf("status of a context that was not negotiated: %v", err)
	}
}
