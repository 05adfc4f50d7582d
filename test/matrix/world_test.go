package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"holdfast"
	"holdfast/compute"
	"holdfast/vault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/keys"
)

const (
	block    = 64 << 10 // of change tracking, and the vault's chunks
	diskSize = 16 * block
	name     = "01jmatrix0000000000machine"
)

// content is what the disks hold, by name.
type content map[string][]byte

func (c content) clone() content {
	out := maps.Clone(c)
	for disk, b := range out {
		out[disk] = bytes.Clone(b)
	}
	return out
}

// instant is what a point in time has to hold.
type instant struct {
	content
	power compute.PowerState
}

// made is a committed backup.
type made struct {
	id, point, incremental, consistency, reason string
	content
}

// world is a machine with its model, and the vault of its backups.
type world struct {
	t       *testing.T
	lab     lab
	host    hypervisor
	site    *mem.Storage
	ring    keys.Ring
	account holdfast.AccountID
	now     content // what the guest's disks hold
	points  map[compute.Point]instant
	backups []made // the newest first
	shots   map[string]content
	aside   content // of the generation that is not in force
	written int
}

// newWorld has a running machine with two disks, and one backup of it.
func newWorld(t *testing.T, start func(*testing.T) lab) *world {
	w := &world{
		t: t, site: mem.New(), ring: keys.NewRing(), account: holdfast.NewID[holdfast.AccountID](),
		points: map[compute.Point]instant{}, shots: map[string]content{},
	}
	account := keys.NewAccountKey()
	_, err := vault.Init(t.Context(), w.site, vault.Config{
		Account: string(w.account), Ring: w.ring, WrappedRing: account.WrapRing(string(w.account), w.ring), ChunkSize: block, PackSize: 4 * block,
	})
	w.ok(err)
	w.lab = start(t)
	w.host, err = w.lab.Open()
	w.ok(err)
	w.ok(w.host.Define(t.Context(), compute.Machine{
		ID: name, Hostname: "guest", CPUs: 1, MemoryMiB: 64, NIC: compute.NIC{MAC: "52:54:00:12:34:56", Network: "user"},
		Disks: []compute.Disk{{Name: "disk0", SizeBytes: diskSize}, {Name: "disk1", SizeBytes: diskSize}},
	}))
	t.Cleanup(func() {
		if err := w.host.Delete(context.Background(), name); err != nil {
			t.Error(err)
		}
		if c, ok := w.host.(io.Closer); ok {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	w.now = content{"disk0": make([]byte, diskSize), "disk1": make([]byte, diskSize)}
	w.ok(w.host.Start(t.Context(), name))
	for range 6 {
		w.write()
	}
	first := w.backup("", nil)
	w.expect(first, holdfast.IncrementalFull)
	w.write()
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// write is the guest writing some blocks of every disk, others each time.
func (w *world) write() {
	w.t.Helper()
	w.written++
	for _, disk := range slices.Sorted(maps.Keys(w.now)) {
		size := int64(len(w.now[disk]))
		for i := range int64(3) {
			off := (int64(w.written)*5 + i*7) * block % size
			n := min(block, size-off)
			pattern := byte(w.written)<<3 | byte(i) | 1
			w.ok(w.lab.Write(name, disk, off, n, pattern))
			copy(w.now[disk][off:off+n], bytes.Repeat([]byte{pattern}, int(n)))
		}
	}
}

func (w *world) power() compute.PowerState {
	w.t.Helper()
	st, err := w.host.Inspect(w.t.Context(), name)
	w.ok(err)
	return st.Power
}

// running makes the machine run, whatever it does.
func (w *world) running() {
	w.t.Helper()
	switch w.power() {
	case compute.Paused:
		w.ok(w.lab.Resume(name))
	case compute.Stopped:
		w.ok(w.host.Start(w.t.Context(), name))
	}
}

func (w *world) disks() []holdfast.VPSDisk {
	var disks []holdfast.VPSDisk
	for _, disk := range slices.Sorted(maps.Keys(w.now)) {
		disks = append(disks, holdfast.VPSDisk{Name: disk, SizeBytes: int64(len(w.now[disk]))})
	}
	return disks
}

// backup runs a backup through the service, however many lives that takes;
// happen happens at a moment of the first.
func (w *world) backup(moment string, happen func(l *life)) made {
	w.t.Helper()
	in := holdfast.BackupInput{Disks: w.disks(), Generation: 1}
	for _, b := range w.backups {
		in.Parents = append(in.Parents, holdfast.ParentBackup{ID: holdfast.BackupID(b.id), Point: b.point})
	}
	if len(in.Parents) > 0 {
		in.Earlier = in.Parents[0].ID
	}
	raw, err := json.Marshal(in)
	w.ok(err)
	id := holdfast.NewID[holdfast.BackupID]()
	q := newQueue(holdfast.Operation{
		ID: holdfast.NewID[holdfast.JobID](), Kind: holdfast.KindBackup, AccountID: w.account, VPSID: name, BackupID: id,
		Status: holdfast.OperationQueued, Input: raw, CreatedAt: time.Now(),
	})
	happened := happen == nil
	for lives := 0; q.outcome == nil; lives++ {
		if lives > 5 {
			w.t.Fatal("the backup does not end")
		}
		l := w.live(q)
		if !happened {
			l.moment = moment
			l.happen = func() { happened = true; happen(l) }
		}
		l.work(q)
	}
	if !happened {
		w.t.Fatalf("the moment %q did not come", moment)
	}
	if f := q.outcome.Failure; f != nil {
		w.t.Fatalf("the backup failed: %s: %s", f.Code, f.Message)
	}
	return w.keep(string(id))
}

// keep proves that a backup holds what its point in time had to.
func (w *world) keep(id string) made {
	w.t.Helper()
	v, err := vault.Open(w.t.Context(), w.site, w.ring)
	w.ok(err)
	m, err := v.Manifest(w.t.Context(), id)
	w.ok(err)
	b := made{id: id, point: m.Labels["point"], incremental: m.Labels["incremental"], consistency: m.Labels["consistency"],
		reason: m.Labels["incrementalReason"], content: content{}}
	for _, image := range m.Images {
		r, err := v.OpenImage(w.t.Context(), image)
		w.ok(err)
		b.content[image.Name] = make([]byte, r.Size())
		_, err = r.ReadAt(b.content[image.Name], 0)
		w.ok(err)
	}
	at := w.points[compute.Point(b.point)]
	w.same(b.content, at.content, "the backup", "the disks at its instant")
	want := holdfast.ConsistencyCrash
	if at.power == compute.Stopped {
		want = holdfast.ConsistencyOffline
	}
	if b.consistency != want {
		w.t.Errorf("the consistency of a machine that was %s is %q", at.power, b.consistency)
	}
	w.backups = append([]made{b}, w.backups...)
	return b
}

// same compares disks byte for byte.
func (w *world) same(got, want content, what, with string) {
	w.t.Helper()
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		w.t.Fatalf("%s has other disks than %s", what, with)
	}
	for disk, b := range want {
		if len(b) != len(got[disk]) {
			w.t.Fatalf("%s of %s has %d bytes, not the %d of %s", disk, what, len(got[disk]), len(b), with)
		}
		if have := got[disk]; !bytes.Equal(b, have) {
			i := 0
			for b[i] == have[i] {
				i++
			}
			w.t.Fatalf("%s of %s differs from %s at byte %d", disk, what, with, i)
		}
	}
}

func (w *world) expect(b made, incremental string) {
	w.t.Helper()
	if b.incremental != incremental || (b.reason != "") != (incremental == holdfast.IncrementalFixed) {
		w.t.Errorf("the backup is %q because %q, and should be %q", b.incremental, b.reason, incremental)
	}
}

// readBoth takes a point in time that is relative to nothing, reads all of it past
// everything that backups rely on, and compares the newest backup with that.
func (w *world) readBoth() {
	w.t.Helper()
	h, err := w.host.Begin(w.t.Context(), compute.PointRequest{Machine: name, Point: "01fullread.1"}, func(compute.Handle) error { return nil })
	w.ok(err)
	all := content{}
	for _, d := range h.Disks {
		src, err := w.host.Open(w.t.Context(), h, d.Name)
		w.ok(err)
		all[d.Name] = make([]byte, src.Size())
		if _, err := src.ReadAt(all[d.Name], 0); err != nil && !errors.Is(err, io.EOF) {
			w.t.Fatal(err)
		}
		w.ok(src.Close())
	}
	w.ok(w.host.End(w.t.Context(), h, compute.Abandoned))
	w.same(all, w.now, "the disk", "what the guest wrote")
	w.same(w.backups[0].content, all, "the newest backup", "the disk")
}
