package vault_test

import (
	"testing"
	"testing/synctest"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
	"holdfast/vault/blob/mem"
)

// far is a storage at a distance.
type far struct{ *fault.Storage }

func (far) InFlight() int { return 16 }

var _ blob.Distant = far{}

// A restore over a line with a latency reads many runs at once: by the clock of a
// bubble, in which only the latency takes time.
func TestRestoreFromAfar(t *testing.T) {
	st := mem.New()
	o := newOwner()
	c := o.config()
	c.ChunkSize, c.PackSize = 64<<10, 4<<20
	v, err := vault.Init(t.Context(), st, c)
	if err != nil {
		t.Fatal(err)
	}
	disk := make([]byte, 32<<20)
	for i, r := 0, newRand(70); i < len(disk); i++ {
		disk[i] = byte(r.Uint32())
	}
	mustBackup(t, v, "b1", disk, "", whole(disk))
	const latency = 50 * time.Millisecond
	took := func(wrap func(*fault.Storage) blob.Storage) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			slow := fault.New(st)
			v, err := vault.Open(t.Context(), wrap(slow), o.ring)
			if err != nil {
				t.Fatal(err)
			}
			slow.SetLatency(latency)
			start := time.Now()
			mustRestore(t, v, "b1", disk)
			took = time.Since(start)
		})
		return took
	}
	near := took(func(st *fault.Storage) blob.Storage { return st })
	distant := took(func(st *fault.Storage) blob.Storage { return far{st} })
	t.Logf("32 MiB at %s: %s by two at once, %s by sixteen", latency, near, distant)
	if near-distant < 10*latency {
		t.Errorf("32 MiB at %s: %s by two at once, %s by sixteen", latency, near, distant)
	}
}
