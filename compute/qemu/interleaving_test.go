//go:build vm

package qemu

import (
	"os"
	"strconv"
	"testing"

	"holdfast/compute/computetest"
)

// TestInterleavings: whatever happens in whatever order to a machine with
// snapshots, backups tell no lies. HOLDFAST_TEST_ROUNDS asks for more random
// orders, and HOLDFAST_FULL for all of three events too.
func TestInterleavings(t *testing.T) {
	try := func(events string) {
		t.Run(events, func(t *testing.T) {
			h := &harness{t: t, cfg: testConfig(t)}
			t.Cleanup(func() { noTraces(t, h.cfg) })
			computetest.TestInterleaving(t, h, events)
		})
	}
	// A backup between two snapshots that are given up from below; one that a
	// rollback forgets; a kill between.
	for _, events := range []string{"cscsDDc", "csccrcskdc"} {
		try(events)
	}
	rounds := 2
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_TEST_ROUNDS")); err == nil {
		rounds = n
	}
	if os.Getenv("HOLDFAST_FULL") != "" {
		rounds = max(rounds, 200)
		for events := range computetest.Interleavings(3) {
			try(events)
		}
	}
	for seed := range uint64(rounds) { //nolint:gosec // not negative
		try(computetest.RandomInterleaving(seed, 12))
	}
}
