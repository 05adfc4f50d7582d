package sim_test

import (
	"os"
	"testing"

	"holdfast/compute/computetest"
)

// TestInterleavings: whatever happens in whatever order to a machine with
// snapshots, backups tell no lies. These are all sequences of two events and
// some long ones; HOLDFAST_FULL takes all of five.
func TestInterleavings(t *testing.T) {
	try := func(events string) {
		t.Run(events, func(t *testing.T) {
			computetest.TestInterleaving(t, &harness{dir: t.TempDir()}, events)
		})
	}
	exhaustive := 2
	if os.Getenv("HOLDFAST_FULL") != "" {
		exhaustive = 5
	}
	for events := range computetest.Interleavings(exhaustive) {
		try(events)
	}
	for seed := range uint64(40) {
		try(computetest.RandomInterleaving(seed, 8))
	}
}
