package e2e

import (
	"context"
	"testing"
	"time"

	"holdfast/internal/vmtest"
)

func withPatience(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), patience)
}

// eventually looks again and again until something is so that has no event.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := withPatience(t)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// fill has the guest write 64 MiB of random bytes, other ones for other seeds,
// to its fourth disk.
func fill(t *testing.T, web, seed string) {
	t.Helper()
	ctx, cancel := withPatience(t)
	defer cancel()
	if _, err := vmtest.Get(ctx, web+"/fill?dev=/dev/vdd&mb=64&seed="+seed); err != nil {
		t.Fatal(err)
	}
}
