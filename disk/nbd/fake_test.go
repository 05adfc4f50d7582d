package nbd

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// stream builds what a server sends.
type stream struct{ bytes.Buffer }

func (s *stream) put(vs ...any) *stream {
	for _, v := range vs {
		switch v := v.(type) {
		case string:
			s.WriteString(v)
		case []byte:
			s.Write(v)
		default:
			if err := binary.Write(s, binary.BigEndian, v); err != nil {
				panic(err)
			}
		}
	}
	return s
}

func (s *stream) option(opt, kind uint32, data []byte) *stream {
	return s.put(uint64(magicOptReply), opt, kind, uint32(len(data)), data)
}

const (
	fakeSize    = 1 << 20
	fakeContext = 7
)

// hello is a whole negotiation for an export of fakeSize with every feature.
func hello() *stream {
	s := new(stream).put(magicServer, uint16(flagFixedNewstyle|flagNoZeroes))
	s.option(optStructured, repAck, nil)
	s.option(optMetaContext, repMetaContext, append(be.AppendUint32(nil, fakeContext), BaseAllocation...))
	s.option(optMetaContext, repAck, nil)
	return s.export(fakeSize)
}

func (s *stream) export(size uint64) *stream {
	info := be.AppendUint64(be.AppendUint16(nil, infoExport), size)
	info = be.AppendUint16(info, flagHasFlags|flagFlush|flagTrim|flagZeroes|flagMultiConn)
	s.option(optGo, repInfo, be.AppendUint16(nil, infoBlockSize))
	s.option(optGo, repInfo, info)
	return s.option(optGo, repAck, nil)
}

// chunk appends one part of an answer.
func (s *stream) chunk(flags, kind uint16, cookie uint64, payload ...any) *stream {
	p := new(stream).put(payload...)
	return s.put(uint32(magicStructured), flags, kind, cookie, uint32(p.Len()), p.Bytes())
}

// pair is a connection of unix sockets, of which one half can be closed.
func pair(t testing.TB) (ours, theirs *net.UnixConn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns []*net.UnixConn
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c.(*net.UnixConn))
	}
	return conns[0], conns[1]
}

// serve plays the stream to a client as fast as it reads, and swallows what the
// client says; then it hangs up.
func serve(t testing.TB, sent []byte) net.Conn {
	ours, theirs := pair(t)
	go func() {
		_, _ = io.Copy(io.Discard, theirs)
		_ = theirs.Close()
	}()
	go func() {
		_, _ = theirs.Write(sent)
		_ = theirs.CloseWrite()
	}()
	return ours
}

func client(t testing.TB, sent *stream) (*Conn, error) {
	return New(t.Context(), serve(t, sent.Bytes()), Options{
		Export: "disk0", Contexts: []string{BaseAllocation}, Timeout: 5 * time.Second,
	})
}

// scripted is a server that reads each request before it answers with the next
// of its answers, which is what a real one does.
func scripted(t testing.TB, answers ...*stream) *Conn {
	ours, theirs := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		if _, err := theirs.Write(hello().Bytes()); err != nil {
			return
		}
		// The client's half of the negotiation.
		opts := 4 + 16 + (16 + 4 + 5 + 4 + 4 + len(BaseAllocation)) + (16 + 4 + 5 + 2)
		if _, err := io.CopyN(io.Discard, theirs, int64(opts)); err != nil {
			return
		}
		for _, a := range answers {
			if _, err := io.CopyN(io.Discard, theirs, 28); err != nil {
				return
			}
			if _, err := theirs.Write(a.Bytes()); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, theirs) // until the client leaves
	}()
	n, err := New(t.Context(), ours, Options{Export: "disk0", Contexts: []string{BaseAllocation}, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return n
}
