package qemu

import (
	"context"
	"errors"
	"iter"
	"syscall"

	"holdfast/disk"
	"holdfast/disk/nbd"
)

// probeStep is the unit in bytes of looking for what can still be asked about.
const probeStep = 1 << 20

// Extents covers the disk: clean granules by the parent's bitmap, zeros by the
// allocation of the rest.
func (s *source) Extents(ctx context.Context) iter.Seq2[disk.Extent, error] {
	return func(yield func(disk.Extent, error) bool) {
		m := merger{yield: yield}
		for a, all := int64(0), granules(s.size); a < all; {
			b, clean := all, false
			if s.dirty != nil {
				b, clean = s.dirty.next(a, all), !s.dirty.get(a)
			}
			from, to := a*granule, min(b*granule, s.size)
			a = b
			if err := ctx.Err(); err != nil {
				yield(disk.Extent{}, err)
				return
			}
			if clean {
				if !m.add(disk.Extent{Offset: from, Length: to - from, Clean: true}) {
					return
				}
				continue
			}
			if err := s.allocation(ctx, from, to, &m); err != nil {
				if m.flush() {
					yield(disk.Extent{}, s.translate(err))
				}
				return
			}
			if m.ended {
				return
			}
		}
		m.flush()
	}
}

// allocation adds the zeros and the data of [off, end). Parts that were
// discarded, by us or by a predecessor of whom we only know the answer EINVAL,
// are data to whoever reads them; the read tells more. Around such parts it
// asks step by step, and for more at once the longer that goes well.
func (s *source) allocation(ctx context.Context, off, end int64, m *merger) error {
	step := end - off
	for off < end && !m.ended {
		to := min(off+step, end)
		if s.knownGone(off/granule, &to) {
			m.add(disk.Extent{Offset: off, Length: to - off})
			off = to
			continue
		}
		err := eachStatus(ctx, s.pick(), nbd.BaseAllocation, off, to, func(e nbd.Extent) bool {
			off = e.Offset + e.Length
			return m.add(disk.Extent{Offset: e.Offset, Length: e.Length, Zero: e.Flags&nbd.StateZero != 0})
		})
		switch {
		case err == nil:
			step *= 2
		case !s.live || !errors.Is(err, syscall.EINVAL):
			return err
		case to-off > probeStep:
			step = probeStep - off%probeStep
		default:
			m.add(disk.Extent{Offset: off, Length: to - off})
			off, step = to, probeStep
		}
	}
	return nil
}

// knownGone says whether the granule was discarded, and cuts end to where that
// changes.
func (s *source) knownGone(i int64, end *int64) bool {
	s.goneMu.RLock()
	defer s.goneMu.RUnlock()
	*end = min(*end, s.gone.next(i, granules(s.size))*granule)
	return s.gone.get(i)
}

// merger joins neighbours that are alike.
type merger struct {
	yield func(disk.Extent, error) bool
	have  disk.Extent
	ended bool
}

func (m *merger) add(e disk.Extent) bool {
	if m.have.Length > 0 && m.have.Zero == e.Zero && m.have.Clean == e.Clean {
		m.have.Length += e.Length
		return !m.ended
	}
	ok := m.flush()
	m.have = e
	return ok
}

func (m *merger) flush() bool {
	if m.have.Length > 0 && !m.ended {
		m.ended = !m.yield(m.have, nil)
	}
	m.have = disk.Extent{}
	return !m.ended
}
