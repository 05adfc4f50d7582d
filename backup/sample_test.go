package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"holdfast"
	"holdfast/compute"
	"holdfast/compute/sim"
	"holdfast/disk"
)

// hidden is a write of the guest that change tracking misses.
func (w *world) hidden(disk string, off int64) {
	w.t.Helper()
	h := w.hypervisor()
	h.Inject(sim.Faults{Untracked: true})
	w.ok(h.WriteDisk(string(w.vps.ID), disk, []byte("nobody has seen me"), off))
}

// TestMissedChangeIsFound: one chunk of a disk differs from the parent, and change
// tracking says that nothing has changed.
func TestMissedChangeIsFound(t *testing.T) {
	w := newWorld(t)
	var said bytes.Buffer
	w.log = slog.New(slog.NewTextHandler(&said, nil))
	w.backup()
	w.guestWrites("disk0", 30*block, block)
	w.hidden("disk0", 7*block+5)
	b := w.backup()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalFixed || strings.Count(b.IncrementalReason, "missed a change of disk0 at byte 458752") != 1 {
		t.Errorf("the backup is %q because %q", b.Incremental, b.IncrementalReason)
	}
	if alarm := said.String(); strings.Count(alarm, "level=ERROR") != 1 || !strings.Contains(alarm, string(w.vps.ID)) {
		t.Errorf("the operator reads %s", alarm)
	}
	w.clean()
	// Tracking begins anew with the point of the repair, and is relied on.
	w.guestWrites("disk1", 2*block, 10)
	next := w.backup()
	w.holds(next, w.contents(w.vps))
	if next.Incremental != holdfast.IncrementalDelta || next.IncrementalReason != "" || next.ChangedBytes > 2*block {
		t.Errorf("the next backup: %+v", next)
	}
}

// TestMissedChangeSurvivesTheService: who finds it dies before it has acted on it,
// or after; the successor comes to the same end.
func TestMissedChangeSurvivesTheService(t *testing.T) {
	for _, at := range []struct {
		key string
		n   int
	}{{"why", 1}, {"whole", 1}, {"point", 4}, {"point", 5}} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			w := newWorld(t)
			w.backup()
			w.hidden("disk1", 3*block)
			p := w.process()
			p.inject(sim.Faults{}, nil)
			p.atEntry(at.key, at.n)
			o := w.ask()
			p.run(p.until(p.dead.Load))
			w.ahead.Add(int64(2 * ttl))
			w.process().finish(o)
			b := w.completed(o)
			w.holds(b, w.contents(w.vps))
			if b.Incremental != holdfast.IncrementalFixed || !strings.Contains(b.IncrementalReason, "missed a change of disk1") {
				t.Errorf("the backup is %q because %q", b.Incremental, b.IncrementalReason)
			}
			w.clean()
		})
	}
}

// exact is a hypervisor that keeps nothing of what was discarded, whoever asks.
type exact struct {
	compute.Driver

	mu   sync.Mutex
	gone map[string][]bool // of each disk, by block
	read map[string]int    // blocks that were read
}

func (e *exact) Open(ctx context.Context, h compute.Handle, name string) (disk.Source, error) {
	src, err := e.Driver.Open(ctx, h, name)
	if err != nil {
		return nil, err
	}
	key := name + "@" + string(h.Point)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone[key] == nil {
		e.gone[key] = make([]bool, (src.Size()+block-1)/block)
	}
	return &exactly{src, e, key}, nil
}

type exactly struct {
	disk.Source

	of  *exact
	key string
}

func (s *exactly) Discard(ctx context.Context, off, n int64) error {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	for i := off / block; i*block < off+n; i++ {
		s.of.gone[s.key][i] = true
	}
	return s.Source.Discard(ctx, off, n)
}

func (s *exactly) ReadAt(p []byte, off int64) (int, error) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	for i := off / block; i*block < off+int64(len(p)); i++ {
		if s.of.gone[s.key][i] {
			return 0, fmt.Errorf("block %d of %s was discarded: %w", i, s.key, compute.ErrPointLost)
		}
		s.of.read[s.key]++
	}
	return s.Source.ReadAt(p, off)
}

// TestSampleIsReadBeforeItIsReleased, by a successor too, once, and not more of it
// than was asked for.
func TestSampleIsReadBeforeItIsReleased(t *testing.T) {
	for key, n := range map[string]int{"sample": 2, "point": 3, "": 0} {
		w := newWorld(t)
		w.backup()
		w.guestWrites("disk0", 0, 5*block)
		e := &exact{gone: map[string][]bool{}, read: map[string]int{}}
		p := w.process()
		p.inject(sim.Faults{}, nil)
		e.Driver = p.service.Host.Driver
		p.service.Host.Driver = e
		o := w.ask()
		if key != "" {
			p.atEntry(key, n)
			p.run(p.until(p.dead.Load))
			w.ahead.Add(int64(2 * ttl))
			p = w.process()
			e.Driver = p.service.Host.Driver
			p.service.Host.Driver = e
		}
		p.finish(o)
		b := w.completed(o)
		w.holds(b, w.contents(w.vps))
		if b.Incremental != holdfast.IncrementalDelta {
			t.Errorf("%s: the backup is %q because %q", key, b.Incremental, b.IncrementalReason)
		}
		for disk, gone := range e.gone {
			dirty := 0
			if strings.HasPrefix(disk, "disk0") {
				dirty = 5
			}
			if got := e.read[disk]; got < len(gone) || key == "" && got != len(gone) {
				t.Errorf("%s: %d of %d blocks of %s were read", key, got, len(gone), disk)
			}
			if kept := len(gone) - count(gone); kept != dirty {
				t.Errorf("%s: %d blocks of %s are not released, want %d", key, kept, disk, dirty)
			}
		}
	}
}

func count(set []bool) int {
	n := 0
	for _, b := range set {
		if b {
			n++
		}
	}
	return n
}

// A grown disk's tail was not in the parent, so it is read, whatever tracking says.
func TestGrownDisk(t *testing.T) {
	w := newWorld(t)
	w.backup()
	w.grow("disk0", 40*block+4096)
	w.guestWrites("disk0", 39*block, 10)
	b := w.backup()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalDelta || b.ChangedBytes > 10*block {
		t.Errorf("the backup: %+v", b)
	}
	// What tracking misses of the new part is seen all the same.
	w.grow("disk0", 50*block)
	w.hidden("disk0", 45*block)
	w.holds(w.backup(), w.contents(w.vps))
	w.clean()
}

func (w *world) grow(disk string, size int64) {
	w.t.Helper()
	w.ok(w.hypervisor().Grow(w.t.Context(), string(w.vps.ID), disk, size))
	w.vps.Disks = slices.Clone(w.vps.Disks)
	for i := range w.vps.Disks {
		if w.vps.Disks[i].Name == disk {
			w.vps.Disks[i].SizeBytes = size
		}
	}
}

// A disk that was added is new to every backup, one that was removed in none.
func TestAddedAndRemovedDisks(t *testing.T) {
	w := newWorld(t)
	w.backup()
	h, id := w.hypervisor(), string(w.vps.ID)
	w.ok(h.Stop(t.Context(), id, 0))
	w.ok(h.AddDisk(t.Context(), id, compute.Disk{Name: "disk2", SizeBytes: 8 * block}))
	w.ok(h.Start(t.Context(), id))
	w.vps.Disks = append(w.vps.Disks, holdfast.VPSDisk{Name: "disk2", SizeBytes: 8 * block})
	w.guestWrites("disk2", block, 3*block)
	b := w.backup()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalDelta || b.ChangedBytes > 5*block {
		t.Errorf("with a disk more: %+v", b)
	}
	w.ok(h.Stop(t.Context(), id, 0))
	w.ok(h.RemoveDisk(t.Context(), id, "disk1"))
	w.vps.Disks = slices.DeleteFunc(w.vps.Disks, func(d holdfast.VPSDisk) bool { return d.Name == "disk1" })
	b = w.backup()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalDelta || b.ChangedBytes != 0 {
		t.Errorf("with a disk less: %+v", b)
	}
	// One of the same name is another disk; but the name was there two backups ago.
	w.ok(h.AddDisk(t.Context(), id, compute.Disk{Name: "disk1", SizeBytes: 8 * block}))
	w.vps.Disks = append(w.vps.Disks, holdfast.VPSDisk{Name: "disk1", SizeBytes: 8 * block})
	b = w.backup()
	w.holds(b, w.contents(w.vps))
	if b.Incremental != holdfast.IncrementalDelta {
		t.Errorf("with another disk of the same name: %+v", b)
	}
}
