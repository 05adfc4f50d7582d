package service

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"holdfast/internal/vmtest"
)

// Writes is what a guest has measured of its log's writes.
type Writes struct {
	Writes        int
	P50, P99, Max time.Duration
}

// String is for a test's log.
func (w Writes) String() string {
	return fmt.Sprintf("%d writes, half within %s, 99 of 100 within %s, the longest %s", w.Writes, w.P50, w.P99, w.Max)
}

// GuestWrites asks the guest behind web for the writes since it was last asked.
// One that hangs counts when it has ended.
func GuestWrites(t testing.TB, web string) Writes {
	t.Helper()
	text, err := vmtest.Get(t.Context(), web+"/log/latency")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Writes, P50Micros, P99Micros, MaxMicros int64 }
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	micros := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	return Writes{int(v.Writes), micros(v.P50Micros), micros(v.P99Micros), micros(v.MaxMicros)}
}
