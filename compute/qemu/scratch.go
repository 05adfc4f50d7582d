package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast/compute"
)

func (d *Driver) createScratch(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return noScratch(fmt.Errorf("qemu: scratch: %w", err))
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return noScratch(fmt.Errorf("qemu: scratch: %w", err))
	}
	return d.give(path, 0o600)
}

func noScratch(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", compute.ErrScratchExhausted, err)
	}
	return err
}

// full is the free space in bytes below which a broken point in time is put down
// to a full file system.
const full = 1 << 20

// scratchFull says whether a limit of scratch space is passed: the machine's, the
// host's, or that of the space which is never used.
func (d *Driver) scratchFull(id string) bool {
	return d.scratchOver(id, 1)
}

// scratchOver says whether a share of a limit is passed, 1 of so many; of the
// reserve so many times.
func (d *Driver) scratchOver(id string, share int64) bool {
	if l := d.cfg.ScratchLimit; l > 0 && d.scratchUsed(id) > l/share {
		return true
	}
	if l := d.cfg.HostScratchLimit; l > 0 && d.scratchUsed("*") > l/share {
		return true
	}
	var fs syscall.Statfs_t
	return syscall.Statfs(d.cfg.Scratch, &fs) == nil &&
		int64(fs.Bavail)*fs.Bsize < share*max(d.cfg.ScratchReserve, full) //nolint:gosec // blocks of a disk
}

// mustGive says whether it is this machine's point in time that has to go: it is
// over its own limit, or takes no less than the average of those that take any.
func (d *Driver) mustGive(id string) bool {
	own := d.scratchUsed(id)
	if l := d.cfg.ScratchLimit; l > 0 && own > l {
		return true
	}
	entries, err := os.ReadDir(d.cfg.Scratch)
	users := int64(0)
	for _, e := range entries {
		if d.scratchUsed(e.Name()) > 0 {
			users++
		}
	}
	return err != nil || own*users >= d.scratchUsed("*")
}

// scratchUsed is how much the scratch of a machine, or of all for "*", takes, in
// bytes.
func (d *Driver) scratchUsed(id string) int64 {
	paths, err := filepath.Glob(filepath.Join(d.scratchDir(id), "*.raw"))
	if err != nil {
		return 0
	}
	var sum int64
	for _, p := range paths {
		var st syscall.Stat_t
		if syscall.Lstat(p, &st) == nil {
			sum += st.Blocks * 512
		}
	}
	return sum
}

// Release says that the range was read and stored, and is needed again only by a
// reader who begins anew, as the successor of a service that was killed does.
// So it is given up only when half of a limit is passed: from then on such a
// successor finds the point in time lost, and takes another.
func (s *source) Release(offset, length int64) {
	if offset < 0 || length <= 0 || offset > s.size-length {
		return
	}
	a, b := granules(offset), (offset+length)/granule
	if offset+length == s.size {
		b = granules(s.size)
	}
	s.goneMu.Lock()
	defer s.goneMu.Unlock()
	s.released.set(a, max(a, b))
}

// trimReleased gives up what was released and is not gone yet.
func (s *source) trimReleased(ctx context.Context) error {
	all := granules(s.size)
	for a := int64(0); a < all; {
		s.goneMu.RLock()
		b := min(s.released.next(a, all), s.gone.next(a, all))
		give := s.released.get(a) && !s.gone.get(a)
		s.goneMu.RUnlock()
		if give {
			if err := s.Discard(ctx, a*granule, min(b*granule, s.size)-a*granule); err != nil {
				return err
			}
		}
		a = b
	}
	return nil
}

// watchScratch makes room when half of a limit of scratch is passed, and gives
// the point up when all of it is, so that one machine cannot take the space of
// all others.
func (s *source) watchScratch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.d.scratchOver(s.h.Machine, 2) {
			continue
		}
		if err := s.trimReleased(ctx); err != nil && ctx.Err() == nil {
			s.d.log.Debug("scratch was not trimmed", "machine", s.h.Machine, "error", err) // the next read will tell
		}
		if !s.d.scratchFull(s.h.Machine) || !s.d.mustGive(s.h.Machine) {
			continue
		}
		s.exhausted.Store(true)
		if err := s.d.breakPoint(ctx, s.h); err != nil && ctx.Err() == nil {
			s.d.log.Warn("point in time over its scratch limit was not given up", "machine", s.h.Machine, "error", err)
			continue
		}
		return
	}
}

// breakPoint takes the point's filters away; its owner finds it lost, and ends
// it. Scratch stays for the reason to be seen.
func (d *Driver) breakPoint(ctx context.Context, h compute.Handle) error {
	unlock, err := d.lock(ctx, h.Machine)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := d.load(h.Machine)
	if err != nil {
		return err
	}
	now, found, err := d.leftover(m.ID)
	if err != nil || !found || now.Point != h.Point {
		return err // somebody has ended it
	}
	p, alive, err := d.running(m.ID)
	if err != nil || !alive {
		return err
	}
	q, err := d.connect(ctx, m.ID, p)
	if err != nil {
		return err
	}
	defer q.Close() //nolint:errcheck // never fails
	if now.WriteBytesPerSecond > 0 {
		if err := d.freeWrites(ctx, q, m); err != nil {
			return err
		}
	}
	_, err = q.detach(ctx, m)
	return err
}
