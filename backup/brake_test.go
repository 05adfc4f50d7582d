package backup

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/compute"
)

// TestBrake: reading pauses while the VPS's writes are slow, says so, and goes
// on for one look in eleven however slow they are.
func TestBrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		var all compute.Latency
		latency := func(context.Context) (before, during compute.Latency, err error) {
			if slow.Load() {
				all[len(all)-2] += 10
			} else {
				all[2] += 10
			}
			return before, all, nil
		}
		var note atomic.Value
		note.Store("")
		k := newBrake(Limits{WriteLatency: time.Second}, latency, func(s string) { note.Store(s) }, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		go k.watch(ctx)
		read := func() time.Duration {
			began := time.Now()
			if err := k.wait(ctx, 1); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		pass := func(d time.Duration) {
			time.Sleep(d) // of the bubble's clock
			synctest.Wait()
		}
		pass(2500 * time.Millisecond)
		if d := read(); d != 0 || note.Load() != "" {
			t.Errorf("waited %v without a reason, %q", d, note.Load())
		}
		slow.Store(true)
		pass(time.Second)
		if said := note.Load().(string); said != "waiting because the VPS's writes take up to 5s" {
			t.Errorf("said %q", said)
		}
		if d := read(); d != 9500*time.Millisecond && d != 10*time.Second {
			t.Errorf("waited %v, not ten looks", d)
		}
		pass(time.Second)
		slow.Store(false)
		if d := read(); d > time.Second || note.Load() != "" {
			t.Errorf("waited %v after the writes were fast, %q", d, note.Load())
		}
		slow.Store(true)
		pass(time.Second)
		time.AfterFunc(time.Second/4, cancel)
		if err := k.wait(ctx, 1); err == nil {
			t.Error("a backup that was cancelled reads on")
		}
	})
}

func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBrake(Limits{BytesPerSecond: 1 << 20}, nil, nil, slog.New(slog.DiscardHandler))
		began := time.Now()
		for range 4 {
			if err := k.wait(t.Context(), 5<<19); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began).Round(time.Second); d != 9*time.Second {
			t.Errorf("10 MiB at 1 MiB/s, the first at once, took %v", d)
		}
	})
}
