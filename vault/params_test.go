package vault

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast/vault/keys"
)

func TestParams(t *testing.T) {
	ring := keys.NewRing()
	p, err := newParams(0, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	data, err := encodeParams(p, ring)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeParams(data, ring)
	if err != nil || !got.CreatedAt.Equal(p.CreatedAt) || got.ID != p.ID || got.ChunkSize != DefaultChunkSize || got.PackSize != DefaultPackSize {
		t.Fatalf("%+v, %v", got, err)
	}
	// Whoever can write to the storage may want another shape.
	for _, change := range [][2]string{
		{`"chunkSize": 262144`, `"chunkSize": 524288`}, {`"packSize": 25165824`, `"packSize": 16777216`},
		{`"format": 1`, `"format": 2`}, {`"vault": "`, `"vault": "0`}, {`"chunkSize": 262144`, `"chunkSize": 1073741824`}, {"{", "["},
	} {
		bad := strings.Replace(string(data), change[0], change[1], 1)
		if bad == string(data) {
			t.Fatalf("%s not found in %s", change[0], data)
		}
		if _, err := decodeParams([]byte(bad), ring); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
	for _, bad := range [][2]int{{1000, 0}, {3 << 20, 0}, {8 << 20, 0}, {1 << 10, 0}, {1 << 20, 1 << 20}, {1 << 20, 65 << 20}} {
		if _, err := newParams(bad[0], bad[1], time.Now()); !errors.Is(err, ErrFormat) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func FuzzDecodeParams(f *testing.F) {
	ring := keys.NewRing()
	p, err := newParams(0, 0, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	good, err := encodeParams(p, ring)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":1,"mac":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeParams(data, ring)
		if err == nil && (got.ID != p.ID || got.ChunkSize != p.ChunkSize || got.PackSize != p.PackSize) {
			t.Errorf("forged parameters %+v", got)
		}
	})
}

func FuzzKeyBlob(f *testing.F) {
	f.Add([]byte(`{"format":1,"account":"a","wrapped":"AQ=="}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var b keyBlob
		if json.Unmarshal(data, &b) != nil {
			return
		}
		if _, err := keys.NewMasterKey().UnwrapAccount(b.Account, b.Wrapped); !errors.Is(err, keys.ErrWrongKey) {
			t.Errorf("unwrapped: %v", err)
		}
	})
}

// Ranges come from hypervisors, sizes from their disks.
func FuzzPlanner(f *testing.F) {
	f.Add(int64(100000), int64(0), int64(0), int64(100000), false, int64(50), int64(7), true)
	f.Add(int64(100000), int64(0), int64(0), int64(100000), true, int64(50), int64(7), false)
	f.Add(int64(4097), int64(8000), int64(10), int64(10), true, int64(4096), int64(1), false)
	f.Fuzz(func(t *testing.T, size, parent, off1, len1 int64, zero1 bool, off2, len2 int64, zero2 bool) {
		const cs = 4096
		if size <= 0 || size > 200*cs || parent < 0 || parent > 200*cs {
			return
		}
		rs := []Range{{off1, len1, zero1}, {off2, len2, zero2}}
		p := newPlanner(cs, size, parent, parent > 0)
		next, seen := uint64(0), map[uint64]bool{}
		err := p.run(func(yield func(Range, error) bool) {
			for _, r := range rs {
				if !yield(r, nil) {
					return
				}
			}
		}, func(j *job) error {
			if j.first < next || j.end <= j.first || j.end > chunks(size, cs) {
				t.Fatalf("job %d to %d after %d", j.first, j.end, next)
			}
			next = j.end
			for i := j.first; i < j.end; i++ {
				seen[i] = true
			}
			return nil
		})
		if err != nil {
			if !errors.Is(err, ErrRanges) {
				t.Error(err)
			}
			return
		}
		for _, r := range rs {
			if r.Length == 0 || r.Zero && parent == 0 {
				continue
			}
			for i := uint64(r.Offset / cs); i < chunks(r.Offset+r.Length, cs); i++ {
				if !seen[i] {
					t.Fatalf("chunk %d of %+v is not planned", i, r)
				}
			}
		}
	})
}
