package qemu

import (
	"context"
	"fmt"

	"holdfast/compute"
)

// countWrites begins to count the guest's writes to all disks anew, by how long
// they take (block-latency-histogram-set).
func (s *session) countWrites(ctx context.Context, m compute.Machine) error {
	bounds := make([]int64, len(compute.LatencyBounds))
	for i, b := range compute.LatencyBounds {
		bounds[i] = b.Nanoseconds()
	}
	for _, dk := range m.Disks {
		if err := s.Execute(ctx, "block-latency-histogram-set", args{"id": diskDevice(dk.Name), "boundaries-write": bounds}, nil); err != nil {
			return err
		}
	}
	return nil
}

// writes is what was counted, of all disks. The numbers are the hypervisor's
// word, and a guest that has taken it over can make them up: they only ever slow
// that guest's own backup, and never stop it.
func (s *session) writes(ctx context.Context, m compute.Machine) (compute.Latency, error) {
	var sum compute.Latency
	var list []struct {
		Device string `json:"qdev"`
		Stats  struct {
			Writes *struct {
				Bins []int64 `json:"bins"`
			} `json:"wr_latency_histogram"`
		} `json:"stats"`
	}
	if err := s.Execute(ctx, "query-blockstats", nil, &list); err != nil {
		return sum, err
	}
	for _, dk := range m.Disks {
		for _, st := range list {
			if st.Device != diskDevice(dk.Name) || st.Stats.Writes == nil {
				continue
			}
			if len(st.Stats.Writes.Bins) != len(sum) {
				return compute.Latency{}, fmt.Errorf("qemu: %s: a histogram of %d bins", dk.Name, len(st.Stats.Writes.Bins))
			}
			for i, n := range st.Stats.Writes.Bins {
				sum[i] += min(max(n, 0), 1<<50)
			}
		}
	}
	return sum, nil
}

// Latency counts the guest's writes before the point in time, from the end of
// the former one or the start of the machine on, and since.
func (d *Driver) Latency(ctx context.Context, h compute.Handle) (before, during compute.Latency, err error) {
	st, err := stateOf(h)
	if err != nil || !st.Live {
		return before, during, err
	}
	m, err := d.load(h.Machine)
	if err != nil {
		return before, during, err
	}
	unlock, err := d.lock(ctx, h.Machine)
	if err != nil {
		return before, during, err
	}
	defer unlock()
	s, err := d.connect(ctx, m.ID, st.Proc)
	if err != nil {
		return before, during, err
	}
	defer s.Close() //nolint:errcheck // never fails
	during, err = s.writes(ctx, m)
	return st.Before, during, err
}

// beginCounting takes what was counted before the point in time and begins
// anew. A hypervisor that cannot count is backed up all the same.
func (t *taking) beginCounting(ctx context.Context, s *session) {
	before, err := s.writes(ctx, t.m)
	if err == nil {
		t.st.Before = before
		err = s.countWrites(ctx, t.m)
	}
	if err != nil {
		t.d.log.Warn("the guest's write latency is not measured", "machine", t.m.ID, "error", err)
	}
}
