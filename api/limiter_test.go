package api

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := NewLimiter(Rate{PerMinute: 60, Burst: 3}, func() time.Time { return now })
	take := func(key string, n int) Decision {
		d, err := l.Take(context.Background(), key, n)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for left := 2; left >= 0; left-- {
		if d := take("a", 1); !d.Allowed || d.Remaining != left || d.Limit != 60 || !d.Reset.Equal(now.Add(time.Duration(3-left)*time.Second)) {
			t.Fatalf("%d left: %+v", left, d)
		}
	}
	if d := take("a", 1); d.Allowed || d.Remaining != 0 || d.RetryAfter != time.Second {
		t.Fatalf("over the burst: %+v", d)
	}
	if d := take("b", 1); !d.Allowed {
		t.Fatal("another key is limited too")
	}
	if d := take("b", 0); d.Remaining != 2 {
		t.Fatalf("looking counts: %+v", d)
	}
	now = now.Add(time.Second)
	if d := take("a", 1); !d.Allowed {
		t.Fatalf("after waiting as told: %+v", d)
	}
	if d := take("a", 1); d.Allowed {
		t.Fatalf("one more: %+v", d)
	}
	now = now.Add(time.Hour)
	if d := take("a", 1); d.Remaining != 2 {
		t.Fatalf("a pause earns more than the burst: %+v", d)
	}
}

// A flood from many addresses must not take memory without end, nor lock out
// a caller that is known.
func TestLimiterIsBounded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := NewLimiter(Rate{PerMinute: 60, Burst: 10}, func() time.Time { return now }).(*memoryLimiter)
	ctx := context.Background()
	if _, err := l.Take(ctx, "known", 1); err != nil {
		t.Fatal(err)
	}
	refused := false
	for i := range maxCallers + 100 {
		d, err := l.Take(ctx, fmt.Sprint("flood", i), 1)
		if err != nil {
			t.Fatal(err)
		}
		refused = refused || !d.Allowed
	}
	if len(l.whole) > maxCallers+1 || !refused {
		t.Errorf("%d callers kept, refused %v", len(l.whole), refused)
	}
	if d, _ := l.Take(ctx, "known", 1); !d.Allowed {
		t.Error("a known caller is refused")
	}
	now = now.Add(time.Minute)
	if d, _ := l.Take(ctx, "late", 1); !d.Allowed || len(l.whole) > 2 {
		t.Errorf("the flood is kept after it ended: %d", len(l.whole))
	}
}
