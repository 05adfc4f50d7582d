package limit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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
