package compute

import (
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	var l Latency
	if l.Writes() != 0 || l.Quantile(0.99) != 0 {
		t.Error("of nothing")
	}
	l[0], l[3], l[len(l)-1] = 98, 1, 1
	for q, want := range map[float64]time.Duration{0: 100 * time.Microsecond, 0.5: 100 * time.Microsecond, 0.99: time.Millisecond, 1: 10 * time.Second} {
		if got := l.Quantile(q); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	later := l
	later[3] += 5
	later[0] = 0 // the counting began anew
	if d := later.Since(l); d.Writes() != 5 || d.Quantile(0.5) != time.Millisecond {
		t.Errorf("%v", d)
	}
	l[1] = -4 // a hypervisor's nonsense
	if l.Writes() != 100 {
		t.Error(l)
	}
}
