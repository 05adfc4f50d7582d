package sim

import (
	"context"
	"slices"

	"holdfast/compute"
)

// Latency counts what the faults say.
func (h *Host) Latency(_ context.Context, handle compute.Handle) (before, during compute.Latency, err error) {
	if err := h.called("latency", handle.Machine); err != nil {
		return before, during, err
	}
	takes := h.fault().WriteTakes
	if takes == nil {
		return before, during, nil
	}
	bin, _ := slices.BinarySearch(compute.LatencyBounds[:], takes())
	const looked, first = 100, 3
	before[first] = looked
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes[bin] += looked
	return before, h.writes, nil
}
