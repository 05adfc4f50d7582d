package vault

import (
	"fmt"
	"iter"
	"slices"

	"holdfast/vault/chunk"
)

// planner cuts ascending ranges into jobs of whole chunks, each chunk once.
type planner struct {
	cs, size  int64
	hasParent bool
	next      uint64   // the first chunk not planned yet
	forced    []uint64 // ascending chunks to be read whether or not a range has them
}

func newPlanner(cs, size, parentSize int64, hasParent bool) planner {
	p := planner{cs: cs, size: size, hasParent: hasParent}
	if !hasParent || size == parentSize {
		return p
	}
	// The chunk at the end of the smaller of the two has another length now.
	if end := min(size, parentSize); end%cs != 0 {
		p.forced = append(p.forced, uint64(end/cs)) //nolint:gosec // positive
	}
	slices.Sort(p.forced)
	return p
}

func (p *planner) run(ranges iter.Seq2[Range, error], emit func(*job) error) error {
	var last, end, zeroEnd int64
	if ranges != nil {
		for r, err := range ranges {
			if err != nil {
				return fmt.Errorf("changed ranges: %w", err)
			}
			if r.Offset < last || r.Length < 0 || r.Offset > p.size || r.Length > p.size-r.Offset {
				return fmt.Errorf("%w: %d bytes at %d", ErrRanges, r.Length, r.Offset)
			}
			last = r.Offset
			if r.Length == 0 {
				continue
			}
			// One of two that contradict each other is wrong; guessing loses data.
			if r.Offset < zeroEnd || r.Zero && r.Offset < end {
				return fmt.Errorf("%w: zeros overlap at %d", ErrRanges, r.Offset)
			}
			end = max(end, r.Offset+r.Length)
			if r.Zero {
				zeroEnd = end
			}
			if err := p.plan(r, emit); err != nil {
				return err
			}
		}
	}
	return p.force(^uint64(0), emit)
}

func (p *planner) plan(r Range, emit func(*job) error) error {
	end := r.Offset + r.Length
	first, stop := uint64(r.Offset/p.cs), chunks(end, p.cs) //nolint:gosec // positive
	if !r.Zero {
		return p.readRun(first, stop, emit)
	}
	// Only what a zero range covers whole is known to be zeros.
	zfirst, zstop := chunks(r.Offset, p.cs), uint64(end/p.cs) //nolint:gosec // positive
	if end == p.size {
		zstop = stop
	}
	if zfirst >= zstop {
		return p.readRun(first, stop, emit)
	}
	if err := p.readRun(first, zfirst, emit); err != nil {
		return err
	}
	if err := p.zeroRun(zfirst, zstop, emit); err != nil {
		return err
	}
	return p.readRun(zstop, stop, emit)
}

func (p *planner) readRun(first, stop uint64, emit func(*job) error) error {
	for i := max(first, p.next); i < stop; i++ {
		if err := p.force(i, emit); err != nil {
			return err
		}
		p.next = i + 1
		if err := emit(&job{first: i, end: i + 1, result: make(chan chunk.ID, 1)}); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) zeroRun(first, stop uint64, emit func(*job) error) error {
	first = max(first, p.next)
	if first >= stop {
		return nil
	}
	if err := p.force(first, emit); err != nil {
		return err
	}
	p.next = stop
	if !p.hasParent {
		return nil // they are zeros as it is
	}
	return emit(&job{first: first, end: stop, zero: true})
}

// force emits the forced chunks below a limit that no range has covered.
func (p *planner) force(limit uint64, emit func(*job) error) error {
	for len(p.forced) > 0 && p.forced[0] < limit {
		i := p.forced[0]
		p.forced = p.forced[1:]
		if i < p.next {
			continue
		}
		p.next = i + 1
		if err := emit(&job{first: i, end: i + 1, result: make(chan chunk.ID, 1)}); err != nil {
			return err
		}
	}
	return nil
}
