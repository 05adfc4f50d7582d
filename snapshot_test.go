package holdfast_test

import (
	"strings"
	"testing"
	"time"

	"holdfast"
)

func TestSnapshotNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "A-b_9": true, "-": true, "_": true, strings.Repeat("x", 40): true,
		"": false, strings.Repeat("x", 41): false, "a b": false, "a.b": false, "..": false, "a/b": false, "å": false, "a\n": false, "a\x00": false,
	} {
		if holdfast.IsSnapshotName(name) != good || (len(holdfast.CheckSnapshot(name, "")) == 0) != good {
			t.Errorf("%q is a name: %v", name, !good)
		}
	}
	if f := holdfast.CheckSnapshot("a", strings.Repeat("å", 501)); len(f) != 1 || f[0].Pointer != "/description" {
		t.Errorf("%v", f)
	}
	if f := holdfast.CheckSnapshot("a", strings.Repeat("å", 500)); f != nil {
		t.Errorf("%v", f)
	}
}

func TestSnapshotIntervals(t *testing.T) {
	for hours, want := range map[float64]int{-1e99: 4, 0: 4, 3.99: 4, 4: 4, 4.99: 4, 5: 5, 23.9: 23, 24: 24, 24.1: 24, 1e99: 24} {
		if got := holdfast.SnapshotInterval(hours); got != want {
			t.Errorf("%v hours become %d, want %d", hours, got, want)
		}
	}
}

// A schedule keeps its rhythm, whatever was missed.
func TestSnapshotRhythm(t *testing.T) {
	noon := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	s := holdfast.SnapshotSchedule{Enabled: true, IntervalHours: 4, NextAt: noon}
	for now, want := range map[time.Duration]time.Duration{
		0: 4 * time.Hour, time.Second: 4 * time.Hour, 4*time.Hour - 1: 4 * time.Hour, 4 * time.Hour: 8 * time.Hour, 50 * time.Hour: 52 * time.Hour,
		-26 * time.Hour: -22 * time.Hour, // the clock was set back
	} {
		if got := s.After(noon.Add(now)); !got.Equal(noon.Add(want)) || !s.Due(noon.Add(now)) {
			t.Errorf("at %v it is next at %v, want %v; due: %v", now, got.Sub(noon), want, s.Due(noon.Add(now)))
		}
	}
	for _, early := range []time.Duration{time.Second, 25 * time.Hour} {
		if s.Due(noon.Add(-early)) {
			t.Errorf("it is due %v before its time", early)
		}
	}
	if s.Enabled = false; s.Due(noon) {
		t.Error("it is due though it is switched off")
	}
}
