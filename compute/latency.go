package compute

import "time"

// LatencyBounds are the upper bounds of a Latency's counts; the last count is of
// what took longer than all of them.
var LatencyBounds = [...]time.Duration{
	100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second,
}

// Latency counts a guest's writes by how long they took.
type Latency [len(LatencyBounds) + 1]int64

// Writes is how many there were.
func (l Latency) Writes() int64 {
	var n int64
	for _, c := range l {
		n += max(c, 0)
	}
	return n
}

// Quantile is what the share q of the writes, 0 to 1, did not exceed, rounded up
// to a bound; beyond the last one it is twice that. It is 0 when there were none.
func (l Latency) Quantile(q float64) time.Duration {
	all := l.Writes()
	if all == 0 {
		return 0
	}
	var n int64
	for i, bound := range LatencyBounds {
		if n += max(l[i], 0); n > 0 && float64(n) >= q*float64(all) {
			return bound
		}
	}
	return 2 * LatencyBounds[len(LatencyBounds)-1]
}

// Since is what was counted after an earlier count.
func (l Latency) Since(earlier Latency) Latency {
	for i := range l {
		l[i] = max(l[i]-earlier[i], 0)
	}
	return l
}
