package backup_test

import (
	"context"
	"sync"
	"testing"

	"holdfast/compute"
	"holdfast/disk"
)

// releases counts the bytes of each disk that are given up.
type releases struct {
	compute.Driver

	mu    sync.Mutex
	bytes map[string]int64
}

func (r *releases) Open(ctx context.Context, h compute.Handle, name string) (disk.Source, error) {
	src, err := r.Driver.Open(ctx, h, name)
	return &releasing{src, r, name}, err
}

type releasing struct {
	disk.Source

	counted *releases
	name    string
}

func (s *releasing) Discard(ctx context.Context, offset, length int64) error {
	s.counted.mu.Lock()
	s.counted.bytes[s.name] += length
	s.counted.mu.Unlock()
	return s.Source.Discard(ctx, offset, length)
}

// TestCleanRangesAreGivenUp: what an incremental does not read takes no scratch
// when the guest overwrites it.
func TestCleanRangesAreGivenUp(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	counted := &releases{Driver: p.service.Host.Driver, bytes: map[string]int64{}}
	p.service.Host.Driver = counted
	o := w.ask()
	p.finish(o)
	w.completed(o)
	if len(counted.bytes) != 0 {
		t.Errorf("a full backup gave up %v", counted.bytes)
	}
	w.guestWrites("disk0", 3*block+100, block) // in two chunks
	o = w.ask()
	p.finish(o)
	w.completed(o)
	if got := counted.bytes["disk0"]; got != 30*block {
		t.Errorf("of 32 chunks, 2 of them changed, %d bytes were given up", got)
	}
	if got := counted.bytes["disk1"]; got != 16*block+512 {
		t.Errorf("of an unchanged disk %d bytes were given up", got)
	}
}
