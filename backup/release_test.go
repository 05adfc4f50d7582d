package backup_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"holdfast"
	"holdfast/compute"
	"holdfast/disk"
	"holdfast/vault/blob"
	"holdfast/vault/blob/fault"
)

// releases counts the bytes of each disk that are given up.
type releases struct {
	compute.Driver

	mu      sync.Mutex
	bytes   map[string]int64
	durable []durable
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

// Release implements disk.Releaser.
func (s *releasing) Release(offset, length int64) {
	s.counted.mu.Lock()
	defer s.counted.mu.Unlock()
	s.counted.durable = append(s.counted.durable, durable{s.name, offset, length})
}

type durable struct {
	disk           string
	offset, length int64
}

// TestDurableRangesAreReleased: all that was read is, but nothing before the
// vault has stored it; zeros need no room.
func TestDurableRangesAreReleased(t *testing.T) {
	for _, full := range []bool{true, false} {
		w := newWorld(t)
		p := w.process()
		counted := &releases{Driver: p.service.Host.Driver, bytes: map[string]int64{}}
		p.service.Host.Driver = counted
		if full {
			p.storage.AddFault(fault.Put).On("packs/").Forever().ErrorInstead(blob.ErrNoSpace)
		}
		o := w.ask()
		p.finish(o)
		if status := w.see(o.ID).Status; (status == holdfast.OperationFailed) != full {
			t.Fatalf("the place is full: %v, and the backup is %s", full, status)
		}
		data := w.contents(w.vps)
		var some int64
		for _, d := range counted.durable {
			part := data[d.disk][d.offset:][:d.length]
			some += int64(len(part) - bytes.Count(part, []byte{0}))
		}
		if (some == 0) != full {
			t.Errorf("the place is full: %v, and %d bytes of data were released", full, some)
		}
	}
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
