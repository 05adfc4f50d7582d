package control

import (
	"context"
	"crypto/rand"
	"fmt"

	"holdfast"
	"holdfast/store"
)

// chooseHost finds the host of a region with the fewest machines among those
// that answer and have room for want.
func chooseHost(ctx context.Context, q *store.Queries, region string, want holdfast.CloudResources) (holdfast.Host, error) {
	hosts, err := q.HostsOfRegion(ctx, region)
	if err != nil {
		return holdfast.Host{}, err
	}
	now, err := q.Now(ctx)
	if err != nil {
		return holdfast.Host{}, err
	}
	var best holdfast.Host
	least, silent := -1, 0
	for _, h := range hosts {
		if h.Enabled && !h.Available(now) {
			silent++
		}
		if !h.Available(now) {
			continue
		}
		used, err := q.UsedHost(ctx, h.ID)
		if err != nil {
			return holdfast.Host{}, err
		}
		if fits(h.Capacity, used.Add(want)) && (least < 0 || used.Instances < least) {
			best, least = h, used.Instances
		}
	}
	switch {
	case least >= 0:
		return best, nil
	case silent > 0:
		return best, holdfast.E(holdfast.CodeHostUnavailable, "No host of this region that could take the VPS answers at the moment. Try again later, or choose another region.")
	}
	return best, holdfast.E(holdfast.CodeRegionCapacity, "This region has no room for a VPS of this size at the moment. Choose another region, ask for less, or try again later.")
}

// fits says whether a sum of resources is within a host's capacity.
func fits(capacity, sum holdfast.CloudResources) bool {
	within := func(limit, n int) bool { return limit == 0 || n <= limit }
	return within(capacity.CPUCores, sum.CPUCores) && within(capacity.MemoryGb, sum.MemoryGb) &&
		within(capacity.StorageGb, sum.StorageGb) && within(capacity.Instances, sum.Instances)
}

// newMAC draws an address from the range that KVM's machines use. The database
// refuses one that is taken.
func newMAC() string {
	var b [3]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("control: the system has no randomness: " + err.Error())
	}
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", b[0], b[1], b[2])
}
