package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"holdfast/compute"
	"holdfast/disk"
	"holdfast/disk/nbd"
)

// canary is the length in bytes of what stays readable at the start of each
// disk of a live point: reading it tells whether the point is whole, even when
// everything else was trimmed.
const canary = granule

// errDiscarded is a caller's mistake, unlike a lost point in time.
var errDiscarded = errors.New("qemu: read of a range that was discarded")

// source reads one disk of a point in time.
type source struct {
	d     *Driver
	h     compute.Handle
	live  bool
	proc  process
	size  int64
	conns []*nbd.Conn
	next  atomic.Uint32
	dirty *bitset // granules that may differ from the parent; nil for all

	gone      *bitset // granules that were discarded
	released  *bitset // granules that were released, and may be discarded
	goneMu    sync.RWMutex
	exhausted atomic.Bool
	guard     context.CancelFunc
	guarded   sync.WaitGroup
}

// Open opens one disk of the point in time. All of it can be read, also what
// is clean: a caller that does not want to look at clean ranges discards them
// at once, so that no copy of them is kept. Several may be open, also of one
// disk, and again after a crash.
func (d *Driver) Open(ctx context.Context, h compute.Handle, name string) (disk.Source, error) {
	st, err := stateOf(h)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(h.Disks, func(hd compute.HandleDisk) bool { return hd.Name == name })
	if i < 0 || !diskName.MatchString(name) {
		return nil, fmt.Errorf("qemu: point %s has no disk %.20q", h.Point, name)
	}
	s := &source{d: d, h: h, live: st.Live, proc: st.Proc, size: h.Disks[i].SizeBytes}
	if err := s.connect(ctx, h.Disks[i]); err != nil {
		_ = s.closeConns() // they served nothing yet
		return nil, s.translate(err)
	}
	gctx, cancel := context.WithCancel(context.Background())
	s.guard = cancel
	if s.live {
		s.guarded.Go(func() { s.watchScratch(gctx) })
	}
	return s, nil
}

func (s *source) connect(ctx context.Context, hd compute.HandleDisk) error {
	s.gone, s.released = newBitset(granules(s.size)), newBitset(granules(s.size))
	for range s.d.cfg.Connections {
		c, err := s.d.dialExport(ctx, s.h, s.proc, hd, nbd.BaseAllocation)
		if err != nil {
			return err
		}
		s.conns = append(s.conns, c)
	}
	if hd.Parent == "" {
		return nil
	}
	// A context of its own: where it says clean, base:allocation cannot be asked.
	name := nbd.DirtyBitmap(bitmapOf(hd.Parent))
	c, err := s.d.dialExport(ctx, s.h, s.proc, hd, name)
	if err != nil {
		return err
	}
	dirty := newBitset(granules(s.size))
	err = eachStatus(ctx, c, name, 0, s.size, func(e nbd.Extent) bool {
		if e.Flags&nbd.StateDirty != 0 {
			dirty.set(e.Offset/granule, granules(e.Offset+e.Length))
		}
		return true
	})
	s.dirty = dirty
	return errors.Join(err, c.Close())
}

// granules is how many of them cover a length in bytes.
func granules(length int64) int64 { return (length + granule - 1) / granule }

func (d *Driver) dialExport(ctx context.Context, h compute.Handle, p process, hd compute.HandleDisk, context string) (*nbd.Conn, error) {
	c, err := dialPeer(ctx, d.exportSocket(h.Machine, h.Point), p)
	if err != nil {
		return nil, err
	}
	n, err := nbd.New(ctx, c, nbd.Options{Export: hd.Name, Contexts: []string{context}})
	if err == nil && n.Size() != hd.SizeBytes {
		err = errors.Join(fmt.Errorf("qemu: %s has %d bytes, not %d", hd.Name, n.Size(), hd.SizeBytes), n.Close())
	}
	return n, err
}

// eachStatus goes through the extents of a range until f says no.
func eachStatus(ctx context.Context, c *nbd.Conn, name string, off, end int64, f func(nbd.Extent) bool) error {
	for off < end {
		list, err := c.BlockStatus(ctx, name, off, end-off)
		if err != nil {
			return err
		}
		for _, e := range list {
			if !f(e) {
				return nil
			}
			off = e.Offset + e.Length
		}
	}
	return nil
}

func (s *source) pick() *nbd.Conn {
	return s.conns[int(s.next.Add(1))%len(s.conns)]
}

// Size of the disk in bytes.
func (s *source) Size() int64 { return s.size }

// ReadAt reads the bytes of the point in time.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("qemu: read at %d", off)
	}
	if off >= s.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > s.size-off
	if short {
		p = p[:s.size-off]
	}
	s.goneMu.RLock()
	gone := s.gone.any(off/granule, granules(off+int64(len(p))))
	s.goneMu.RUnlock()
	if gone {
		return 0, fmt.Errorf("%w: %d+%d", errDiscarded, off, len(p))
	}
	n, err := s.pick().ReadAt(p, off)
	if err == nil && short {
		err = io.EOF
	}
	if err != nil && !errors.Is(err, io.EOF) || n < len(p) {
		return n, s.translate(err)
	}
	return n, err
}

// Discard gives up the range, as far as it has whole granules. What is left of
// others stays readable, which costs scratch and nothing else.
func (s *source) Discard(ctx context.Context, offset, length int64) error {
	if offset < 0 || length < 0 || offset > s.size-length {
		return fmt.Errorf("qemu: discard of %d+%d", offset, length)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a, b := granules(offset), (offset+length)/granule
	if offset+length == s.size {
		b = granules(s.size)
	}
	if a >= b {
		return nil
	}
	s.goneMu.Lock()
	s.gone.set(a, b)
	s.goneMu.Unlock()
	if !s.live {
		return nil // there is no copy, and the disk itself is never trimmed
	}
	off, end := max(a*granule, canary), min(b*granule, s.size)
	if off >= end {
		return nil
	}
	if err := s.pick().Trim(ctx, off, end-off); err != nil {
		return s.translate(err)
	}
	return nil
}

// Close ends the connections.
func (s *source) Close() error {
	s.guard()
	s.guarded.Wait()
	return s.closeConns()
}

func (s *source) closeConns() error {
	var err error
	for _, c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// translate says what an error of the export means for the point in time: the
// hypervisor answers EINVAL when the copy is broken, and when it has ended the
// point, or itself, there is nobody to answer.
func (s *source) translate(err error) error {
	var answer *nbd.Error
	var op *net.OpError
	over := errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ESHUTDOWN) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) ||
		errors.As(err, &op) && !s.proc.alive() && !errors.As(err, &answer)
	if !over || errors.Is(err, nbd.ErrClosed) {
		return err
	}
	err = fmt.Errorf("%w: %w", disk.ErrPointLost, err)
	if s.live && (s.exhausted.Load() || s.d.scratchFull(s.h.Machine)) {
		err = fmt.Errorf("%w: %w", compute.ErrScratchExhausted, err)
	}
	return err
}

// proveReadable reads the canary of a disk.
func (d *Driver) proveReadable(ctx context.Context, h compute.Handle, st pointState, hd compute.HandleDisk) error {
	s := &source{d: d, h: h, live: st.Live, proc: st.Proc, size: hd.SizeBytes}
	c, err := d.dialExport(ctx, h, st.Proc, hd, nbd.BaseAllocation)
	if err == nil {
		_, err = c.ReadAt(make([]byte, min(canary, hd.SizeBytes)), 0)
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return s.translate(err)
	}
	return nil
}
