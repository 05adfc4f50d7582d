package nbd

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

var be = binary.BigEndian

// info is what negotiation tells about an export.
type info struct {
	size     int64
	flags    uint16
	contexts map[uint32]string
}

// handshake negotiates structured replies, the contexts and the export.
func handshake(rw io.ReadWriter, export string, contexts []string) (info, error) {
	in := info{contexts: map[uint32]string{}}
	if len(export) > maxName {
		return in, fmt.Errorf("nbd: export name of %d bytes", len(export))
	}
	if err := greet(rw); err != nil {
		return in, err
	}
	if err := sendOption(rw, optStructured, nil); err != nil {
		return in, err
	}
	rep, err := readOptReply(rw, optStructured)
	if err != nil {
		return in, err
	}
	if rep.kind != repAck {
		return in, fmt.Errorf("%w: structured replies: %w", ErrUnsupported, rep.err("structured replies"))
	}
	if len(contexts) > 0 {
		if err := in.negotiateContexts(rw, export, contexts); err != nil {
			return in, err
		}
	}
	return in, in.goExport(rw, export)
}

func greet(rw io.ReadWriter) error {
	var h [18]byte
	if _, err := io.ReadFull(rw, h[:]); err != nil {
		return fmt.Errorf("nbd: greeting: %w", err)
	}
	if string(h[:16]) != magicServer {
		return violation("greeting is not that of a newstyle server")
	}
	if be.Uint16(h[16:])&flagFixedNewstyle == 0 {
		return violation("server is not fixed newstyle")
	}
	var c [4]byte
	be.PutUint32(c[:], uint32(be.Uint16(h[16:]))&(flagFixedNewstyle|flagNoZeroes))
	if _, err := rw.Write(c[:]); err != nil {
		return fmt.Errorf("nbd: greeting: %w", err)
	}
	return nil
}

func sendOption(w io.Writer, option uint32, data []byte) error {
	b := make([]byte, 0, 16+len(data))
	b = append(b, magicOption...)
	b = be.AppendUint32(b, option)
	b = be.AppendUint32(b, uint32(len(data))) //nolint:gosec // callers pass some KiB
	b = append(b, data...)
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("nbd: option %d: %w", option, err)
	}
	return nil
}

// optReply is one reply to an option.
type optReply struct {
	kind uint32
	data []byte
}

// err is the reply as an error of what was asked for.
func (r optReply) err(what string) error {
	if r.kind&repErrorBit == 0 {
		return violation("%s: unexpected reply %#x", what, r.kind)
	}
	return fmt.Errorf("nbd: %s refused (%d): %.200q", what, r.kind&^repErrorBit, r.data)
}

func readOptReply(r io.Reader, option uint32) (optReply, error) {
	var h [20]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return optReply{}, fmt.Errorf("nbd: reply to option %d: %w", option, err)
	}
	if be.Uint64(h[:]) != magicOptReply {
		return optReply{}, violation("magic of an option's reply")
	}
	if got := be.Uint32(h[8:]); got != option {
		return optReply{}, violation("reply to option %d instead of %d", got, option)
	}
	n := be.Uint32(h[16:])
	if n > maxOptionReply {
		return optReply{}, violation("option reply of %d bytes", n)
	}
	rep := optReply{kind: be.Uint32(h[12:]), data: make([]byte, n)}
	if _, err := io.ReadFull(r, rep.data); err != nil {
		return optReply{}, fmt.Errorf("nbd: reply to option %d: %w", option, err)
	}
	return rep, nil
}

func appendString(b []byte, s string) []byte {
	return append(be.AppendUint32(b, uint32(len(s))), s...) //nolint:gosec // ≤ maxName
}

func (in *info) negotiateContexts(rw io.ReadWriter, export string, contexts []string) error {
	d := appendString(nil, export)
	d = be.AppendUint32(d, uint32(len(contexts))) //nolint:gosec // a handful
	for _, c := range contexts {
		if len(c) > maxName {
			return fmt.Errorf("nbd: context name of %d bytes", len(c))
		}
		d = appendString(d, c)
	}
	if err := sendOption(rw, optMetaContext, d); err != nil {
		return err
	}
	for range maxOptionReplies {
		rep, err := readOptReply(rw, optMetaContext)
		if err != nil {
			return err
		}
		switch {
		case rep.kind == repAck:
			return in.wantContexts(contexts)
		case rep.kind != repMetaContext:
			return rep.err("contexts")
		case len(rep.data) < 4:
			return violation("context reply of %d bytes", len(rep.data))
		}
		in.contexts[be.Uint32(rep.data)] = string(rep.data[4:])
	}
	return violation("more than %d context replies", maxOptionReplies)
}

// wantContexts refuses an export that lacks one: a missing dirty bitmap must
// never look like a disk without changes.
func (in *info) wantContexts(contexts []string) error {
	for _, want := range contexts {
		found := false
		for _, have := range in.contexts {
			found = found || have == want
		}
		if !found {
			return fmt.Errorf("%w: context %q", ErrUnsupported, want)
		}
	}
	return nil
}

func (in *info) goExport(rw io.ReadWriter, export string) error {
	if err := sendOption(rw, optGo, append(appendString(nil, export), 0, 0)); err != nil {
		return err
	}
	known := false
	for range maxOptionReplies {
		rep, err := readOptReply(rw, optGo)
		if err != nil {
			return err
		}
		switch {
		case rep.kind == repAck && known:
			return nil
		case rep.kind == repAck:
			return violation("export without its size")
		case rep.kind != repInfo:
			return rep.err("export " + export)
		case len(rep.data) < 2:
			return violation("info reply of %d bytes", len(rep.data))
		}
		if be.Uint16(rep.data) != infoExport {
			continue
		}
		if len(rep.data) != 12 {
			return violation("export info of %d bytes", len(rep.data))
		}
		size := be.Uint64(rep.data[2:])
		if size > math.MaxInt64 {
			return violation("export of %d bytes", size)
		}
		in.size, in.flags, known = int64(size), be.Uint16(rep.data[10:]), true
	}
	return violation("more than %d info replies", maxOptionReplies)
}
