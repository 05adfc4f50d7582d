package vault_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
)

// A collection that fails at any storage call, in any way, loses nothing, and the
// next one finishes its work.
func TestCollectionFaultAtEveryCall(t *testing.T) {
	base := mem.New()
	v, o := initVault(t, base)
	disk := noisy(30, 60)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	more := append(noisy(31, 100), disk[:20*testChunk]...)
	mustBackup(t, v, "b2", more, "", whole(more))
	if err := v.DeleteBackup(t.Context(), "b2"); err != nil {
		t.Fatal(err)
	}
	// A quarter of this one's chunks is needed by b1's successor.
	mixed := noisy(32, 80)
	mustBackup(t, v, "b3", mixed, "", whole(mixed))
	next := slices.Concat(disk, mixed[:20*testChunk])
	mustBackup(t, v, "b4", next, "", whole(next))
	for _, id := range []string{"b1", "b3"} {
		if err := v.DeleteBackup(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	err := v.Write(t.Context(), "s-dead", func(ctx context.Context, s *vault.Session) error {
		_, err := s.WriteImage(ctx, vault.ImageInput{Name: "d", Size: int64(len(more)), Read: newReader(more), Ranges: whole(more)})
		return errors.Join(err, errInjected)
	})
	if !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	if err := v.Abandon(t.Context(), "s-dead"); err != nil {
		t.Fatal(err)
	}
	want := base.Clone()
	w, err := vault.Open(t.Context(), want, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	if sum := collectAll(t, w, atOnce); sum.Copied == 0 || sum.Deleted < 5 || len(sum.Ended) != 1 {
		t.Fatalf("without a fault: %+v", sum)
	}
	for _, f := range fault.Failures {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			for call := 1; ; call++ {
				inner := base.Clone()
				st := fault.New(inner)
				f.Arm(st, call)
				met := false
				st.OnFault(func(fault.Call) { met = true })
				if cv, err := vault.Open(t.Context(), st, o.ring); err == nil {
					if p, err := cv.PlanCollection(t.Context(), atOnce); err == nil {
						_, _ = cv.Collect(t.Context(), p, atOnce) // what it did is looked at below
					}
				}
				after, err := vault.Open(t.Context(), inner, o.ring)
				if err != nil {
					t.Fatal(err)
				}
				checkOK(t, after)
				mustRestore(t, after, "b4", next)
				collectAll(t, after, atOnce)
				checkOK(t, after)
				mustRestore(t, after, "b4", next)
				if got, best := size(t, inner), size(t, want); got > best*11/10 {
					t.Fatalf("call %d: %d bytes are left, %d without a fault", call, got, best)
				}
				if !met {
					break
				}
				calls++
			}
			if calls < 10 {
				t.Errorf("only %d calls failed", calls)
			}
		})
	}
}
