package repair_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/check"
	"holdfast/vault/repair"
)

// newWreck is a vault of which backup "a" has lost its manifest and a pack, and
// with it chunks of "b", an index segment is damaged, and a chunk of "c".
func newWreck(t *testing.T) *fixture {
	f := newSmall(t)
	disk := noise(9, 20)
	f.write(f.open(f.st), "c", "", disk, vault.Range{Length: int64(len(disk))})
	f.copied = f.st.Clone()
	f.st.Tamper("backups/a", flip(60))
	f.st.Tamper(f.names("packs/s-a/d")[0], gone)
	f.st.Tamper(f.names("packs/s-c/d")[0], flip(3000))
	f.st.Tamper(f.names("index/s-b/")[0], flip(100))
	return f
}

// A repair that fails at any storage call, of the vault or of its source, in any
// way, makes nothing worse, and the next one finishes its work. HOLDFAST_FULL takes
// every call, else it is every fourth.
func TestFaultAtEveryCall(t *testing.T) {
	base := newWreck(t)
	step := 4
	if os.Getenv("HOLDFAST_FULL") != "" {
		step = 1
	}
	for _, where := range []string{"vault", "source"} {
		for i, fl := range append(slices.Clone(fault.Failures), fault.Spoilt) {
			t.Run(where+"/"+fl.Name, func(t *testing.T) {
				t.Parallel()
				failed := 0
				for call := 1 + i%step; ; call += step {
					f := *base
					f.t, f.st, f.copied = t, base.st.Clone(), base.copied.Clone()
					hit, err := f.attempt(where, func(st *fault.Storage) { fl.Arm(st, call) })
					f.noWorse(fl.Name != "wrong bytes")
					if !hit {
						break
					}
					if err != nil {
						failed++
					}
					o := repair.Options{Sources: []*vault.Vault{f.open(f.copied)}, Expect: []string{"a", "b", "c"}}
					if r := f.repair(o); !r.OK {
						t.Fatalf("call %d: the second repair: %+v", call, r)
					}
					f.whole()
					f.collect()
					f.whole()
				}
				if failed == 0 && fl.Name != "wrong bytes" && (where == "vault" || fl.Name != "full") {
					t.Error("no fault was noticed")
				}
			})
		}
	}
}

func (f *fixture) attempt(where string, arm func(*fault.Storage)) (hit bool, err error) {
	var st, from blob.Storage = f.st, f.copied
	broken := fault.New(f.st)
	if where == "source" {
		broken = fault.New(f.copied)
		from = broken
	} else {
		st = broken
	}
	arm(broken)
	broken.OnFault(func(fault.Call) { hit = true })
	v, err := vault.Open(f.t.Context(), st, f.ring)
	if err != nil {
		return hit, err
	}
	src, err := vault.Open(f.t.Context(), from, f.ring)
	if err != nil {
		return hit, err
	}
	_, err = repair.Run(f.t.Context(), v, repair.Options{Sources: []*vault.Vault{src}, Expect: []string{"a", "b", "c"}, Workers: 1})
	return hit, err
}

// noWorse: whatever reads is right, what was not lost still is not, and a manifest
// is put back when all that the source gives is there.
func (f *fixture) noWorse(all bool) {
	f.t.Helper()
	v := f.open(f.st)
	for id, disk := range f.disks {
		m, err := v.Manifest(f.t.Context(), id)
		if err != nil {
			if id != "a" {
				f.t.Fatalf("backup %s: %v", id, err)
			}
			continue
		}
		im, err := v.OpenImage(f.t.Context(), m.Images[0])
		if err != nil {
			f.t.Fatal(err)
		}
		lost := 0
		for off := 0; off < len(disk); off += chunkSize {
			got := make([]byte, min(chunkSize, len(disk)-off))
			_, err := im.ReadAt(got, int64(off))
			if _, damaged := errors.AsType[*vault.DamagedError](err); damaged {
				lost++
			} else if err != nil || !bytes.Equal(got, disk[off:off+len(got)]) {
				f.t.Fatalf("backup %s at %d: %v", id, off, err)
			}
		}
		if all && id == "a" && lost > 0 || id == "c" && lost > 1 || lost > 16 {
			f.t.Fatalf("backup %s has lost %d chunks", id, lost)
		}
	}
	if _, err := check.Run(f.t.Context(), v, check.Options{ReadData: true}); err != nil {
		f.t.Fatal(err)
	}
}
