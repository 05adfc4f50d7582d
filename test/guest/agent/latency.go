package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// mostTimes is how many of the latest writes are kept for the quantiles: some
// minutes of them.
const mostTimes = 1 << 17

// stopwatch keeps how long single writes took.
type stopwatch struct {
	mu     sync.Mutex
	micros []int32 // the latest, as a ring once it is full
	writes int
	max    int32
}

func (s *stopwatch) add(took time.Duration) {
	micros := int32(min(took.Microseconds(), 1<<31-1)) //nolint:gosec // bounded
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.micros) < mostTimes {
		s.micros = append(s.micros, micros)
	} else {
		s.micros[s.writes%mostTimes] = micros
	}
	s.writes++
	s.max = max(s.max, micros)
}

// latency answers how many writes there were since it was last asked, and how
// long they took in microseconds: half of them, 99 of 100, and the longest.
func (s *stopwatch) latency(*http.Request) (string, error) {
	s.mu.Lock()
	times, writes, longest := s.micros, s.writes, s.max
	s.micros, s.writes, s.max = nil, 0, 0
	s.mu.Unlock()
	slices.Sort(times)
	quantile := func(q float64) int32 {
		if len(times) == 0 {
			return 0
		}
		return times[min(int(q*float64(len(times))), len(times)-1)]
	}
	return fmt.Sprintf(`{"writes":%d,"p50Micros":%d,"p99Micros":%d,"maxMicros":%d}`,
		writes, quantile(0.5), quantile(0.99), longest), nil
}

// timed is a file whose writes are measured.
type timed struct {
	*os.File

	watch *stopwatch
}

func (f timed) WriteAt(p []byte, off int64) (int, error) {
	began := time.Now()
	n, err := f.File.WriteAt(p, off)
	if err == nil {
		f.watch.add(time.Since(began))
	}
	return n, err
}
