package vault_test

import (
	"slices"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
)

// A copy that fails at any call to either place, in any way, leaves the backup
// there or not there, and the next try completes it.
func TestCopyFaultAtEveryCall(t *testing.T) {
	src, dst := mem.New(), mem.New()
	v, o := initVault(t, src)
	disk := noisy(100, 50)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	mustCopy(t, v, twin(t, v, o, dst), "b1")
	next := slices.Concat(disk[:20*testChunk], noisy(101, 20), disk[40*testChunk:])
	mustBackup(t, v, "b2", next, "b1", ranges(vault.Range{Offset: 20 * testChunk, Length: 20 * testChunk}))
	ways := append(slices.Clone(fault.Failures), fault.Spoilt)
	for _, side := range []string{"source", "target"} {
		for _, f := range ways {
			if side == "source" && f.Name == "full" {
				continue // nothing is put there
			}
			t.Run(side+"/"+f.Name, func(t *testing.T) {
				t.Parallel()
				calls := 0
				for call := 1; ; call++ {
					to := dst.Clone()
					from, at := fault.New(src), fault.New(to)
					hurt := from
					if side == "target" {
						hurt = at
					}
					f.Arm(hurt, call)
					met := false
					hurt.OnFault(func(fault.Call) { met = true })
					afterCopy(t, o, to, tryCopy(t, o, from, at), disk)
					if err := tryCopy(t, o, src, to); err != nil {
						t.Fatalf("call %d: without the fault: %v", call, err)
					}
					again, err := vault.Open(t.Context(), to, o.ring)
					if err != nil {
						t.Fatal(err)
					}
					mustRestore(t, again, "b1", disk)
					mustRestore(t, again, "b2", next)
					checkOK(t, again)
					if !met {
						break
					}
					calls++
				}
				if calls < 5 {
					t.Errorf("only %d calls failed", calls)
				}
			})
		}
	}
}

// tryCopy copies b2 as a process does that has just started.
func tryCopy(t *testing.T, o owner, src, dst blob.Storage) error {
	from, err := vault.Open(t.Context(), src, o.ring)
	if err != nil {
		return err
	}
	to, err := vault.Open(t.Context(), dst, o.ring)
	if err != nil {
		return err
	}
	_, err = from.Copy(t.Context(), to, copyOf("b2"), "b2", vault.CopyOptions{Bases: []string{"b1"}})
	return err
}

// afterCopy proves that the target is as it was, or has the copy, and that a copy
// told to be done is there.
func afterCopy(t *testing.T, o owner, st *mem.Storage, told error, b1 []byte) {
	t.Helper()
	to, err := vault.Open(t.Context(), st, o.ring)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := to.Manifests(t.Context())
	if err != nil || !slices.Contains(ids, "b1") || told == nil && !slices.Contains(ids, "b2") {
		t.Fatalf("after a copy that ended with %v there are %v, %v", told, ids, err)
	}
	checkOK(t, to)
	mustRestore(t, to, "b1", b1)
}
