package fault_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/blob/blobtest"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
)

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Storage { return fault.New(mem.New()) })
}

var errTest = errors.New("injected")

func TestFaults(t *testing.T) {
	st := fault.New(mem.New())
	st.AddFault(fault.Put).On("packs/").Skip(1).Repeat(2).ErrorInstead(errTest)
	var got []bool
	for _, name := range []string{"index/a", "packs/a", "packs/b", "packs/c", "packs/d"} {
		got = append(got, errors.Is(st.PutNew(t.Context(), name, nil), errTest))
	}
	for i, want := range []bool{false, false, true, true, false} {
		if got[i] != want {
			t.Errorf("put %d failed: %v", i, got[i])
		}
	}
	if n := len(st.Calls()); n != 5 {
		t.Errorf("%d calls seen", n)
	}
}

func TestLostAnswerAndWrongBytes(t *testing.T) {
	inner := mem.New()
	st := fault.New(inner)
	st.AddFault(fault.Put).ErrorAfter(errTest)
	if err := st.PutNew(t.Context(), "a", []byte("data")); !errors.Is(err, errTest) {
		t.Errorf("put: %v", err)
	}
	if _, err := inner.Stat(t.Context(), "a"); err != nil {
		t.Errorf("the put did not happen: %v", err)
	}
	st.AddFault(fault.Get).Change(func(p []byte) []byte { p[0] = 'X'; return p })
	if got, err := st.Get(t.Context(), "a", 10); err != nil || string(got) != "Xata" {
		t.Errorf("get = %q, %v", got, err)
	}
	if got, err := st.Get(t.Context(), "a", 10); err != nil || string(got) != "data" {
		t.Errorf("get = %q, %v", got, err)
	}
}

func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := fault.New(mem.New())
		st.SetBandwidth(1000)
		began := time.Now()
		for _, name := range []string{"a", "b", "c"} {
			if err := st.PutNew(t.Context(), name, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("3000 bytes at 1000 a second took %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := st.PutNew(ctx, "d", make([]byte, 5000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("put past its deadline: %v", err)
		}
		if _, err := st.Stat(t.Context(), "d"); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("it was stored: %v", err)
		}
	})
}
