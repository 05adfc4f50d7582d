package limit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/blob/blobtest"
	"holdfast/vault/blob/mem"
)

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := New(mem.New(), 2<<20)
		start := time.Now()
		if err := st.PutNew(t.Context(), "packs/a", make([]byte, 5<<20)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("5 MiB at 2 MiB/s took %s", took)
		}
		start = time.Now()
		if err := st.ReadAt(t.Context(), "packs/a", make([]byte, 4<<20), 0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < time.Second {
			t.Errorf("reading 4 MiB at 2 MiB/s took %s", took)
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	if err := New(mem.New(), 1).PutNew(ctx, "packs/a", make([]byte, 4<<20)); err == nil {
		t.Error("an ended context did not end the wait")
	}
}

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := NewRates(mem.New(), Rates{Requests: 10})
		start := time.Now()
		if err := st.PutNew(t.Context(), "packs/a", make([]byte, 5<<20)); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := st.Stat(t.Context(), "packs/a"); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Get(t.Context(), "packs/a", 5<<20); err != nil {
				t.Fatal(err)
			}
			for _, err := range st.List(t.Context(), "packs/") {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := st.Delete(t.Context(), "packs/a"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 1500*time.Millisecond || took > 1700*time.Millisecond {
			t.Errorf("17 requests at 10/s took %s", took)
		}
	})
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Storage { return NewRates(mem.New(), Rates{Bytes: 1 << 30, Requests: 100_000}) })
}

func TestRetainerIsFound(t *testing.T) {
	if blob.AsRetainer(NewRates(mem.New(), Rates{})) != nil {
		t.Error("a retainer where there is none")
	}
	inner := mem.NewLocked(time.Hour)
	r := blob.AsRetainer(NewRates(NewRates(inner, Rates{}), Rates{Requests: 10}))
	if r == nil || r.Retention() != time.Hour {
		t.Fatalf("the retainer is not found: %v", r)
	}
	start := time.Now()
	for i := range 3 {
		name := fmt.Sprintf("packs/%d", i)
		if err := r.PutRetained(t.Context(), name, []byte("x"), start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if err := r.Retain(t.Context(), name, start.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if until, err := r.RetainedUntil(t.Context(), name); err != nil || !until.Equal(start.Add(time.Hour)) {
			t.Errorf("until %s, %v", until, err)
		}
	}
	if took := time.Since(start); took < 700*time.Millisecond {
		t.Errorf("9 requests at 10/s took %s", took)
	}
}
