package repair_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
	"holdfast/vault/keys"
	"holdfast/vault/repair"
)

const chunkSize = 4 << 10

// fixture is a vault with the backups "a" of a disk and "b", an incremental of
// it, and its copy at another site.
type fixture struct {
	t      *testing.T
	ring   keys.Ring
	st     *mem.Storage
	copied *mem.Storage
	disks  map[string][]byte
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	disk := append(noise(1, 300), 1, 2, 3)
	clear(disk[10*chunkSize : 20*chunkSize])
	return newVault(t, disk, 270)
}

func newSmall(t *testing.T) *fixture {
	t.Helper()
	return newVault(t, noise(2, 24), 12)
}

// noise is a disk without equal or zero chunks.
func noise(seed uint64, chunks int) []byte {
	disk := make([]byte, chunks*chunkSize)
	r := rand.New(rand.NewPCG(seed, 2))
	for i := range disk {
		disk[i] = byte(r.Uint32())
	}
	return disk
}

func newVault(t *testing.T, disk []byte, changed int) *fixture {
	t.Helper()
	f := &fixture{t: t, ring: keys.NewRing(), st: mem.New(), disks: map[string][]byte{}}
	v, err := vault.Init(t.Context(), f.st, vault.Config{Account: "acc", Ring: f.ring,
		WrappedRing: keys.NewAccountKey().WrapRing("acc", f.ring), ChunkSize: chunkSize, PackSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	f.write(v, "a", "", disk, vault.Range{Length: int64(len(disk))})
	disk = slices.Clone(disk)
	disk[changed*chunkSize] ^= 1
	f.write(v, "b", "a", disk, vault.Range{Offset: int64(changed) * chunkSize, Length: 1})
	f.copied = f.st.Clone()
	return f
}

func (f *fixture) write(v *vault.Vault, id, parent string, disk []byte, r vault.Range) {
	f.t.Helper()
	f.disks[id] = disk
	err := v.Write(f.t.Context(), "s-"+id, func(ctx context.Context, s *vault.Session) error {
		in := vault.ImageInput{Name: "d", Size: int64(len(disk)), Read: bytes.NewReader(disk),
			Ranges: func(yield func(vault.Range, error) bool) { yield(r, nil) }}
		if parent != "" {
			in.Parent = &vault.Parent{Backup: parent, Image: "d"}
		}
		im, err := s.WriteImage(ctx, in)
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, vault.Manifest{Backup: id, CreatedAt: time.Now(), Images: []vault.Image{im}})
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) open(st *mem.Storage) *vault.Vault {
	f.t.Helper()
	v, err := vault.Open(f.t.Context(), st, f.ring)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

func (f *fixture) names(prefix string) (names []string) {
	f.t.Helper()
	for info, err := range f.st.List(f.t.Context(), prefix) {
		if err != nil {
			f.t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

func (f *fixture) repair(o repair.Options) repair.Report {
	f.t.Helper()
	r, err := repair.Run(f.t.Context(), f.open(f.st), o)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// whole proves every backup, to the last byte.
func (f *fixture) whole() {
	f.t.Helper()
	v := f.open(f.st)
	for id, disk := range f.disks {
		m, err := v.Manifest(f.t.Context(), id)
		if err != nil {
			f.t.Fatal(err)
		}
		im, err := v.OpenImage(f.t.Context(), m.Images[0])
		if err != nil {
			f.t.Fatal(err)
		}
		got := make([]byte, len(disk))
		if _, err := im.ReadAt(got, 0); err != nil || !bytes.Equal(got, disk) {
			f.t.Fatalf("backup %s: %v, equal: %v", id, err, bytes.Equal(got, disk))
		}
	}
	r, err := check.Run(f.t.Context(), v, check.Options{ReadData: true, Expect: []string{"a", "b"}})
	if err != nil || !r.OK {
		f.t.Fatalf("check: %v, %+v", err, r)
	}
}

func (f *fixture) collect() {
	f.t.Helper()
	v := f.open(f.st)
	for range 3 {
		p, err := v.PlanCollection(f.t.Context(), vault.CollectOptions{})
		if err != nil {
			f.t.Fatal(err)
		}
		if _, err := v.Collect(f.t.Context(), p, vault.CollectOptions{}); err != nil {
			f.t.Fatal(err)
		}
	}
}

func flip(at int) func([]byte) []byte {
	return func(p []byte) []byte { p[(at+len(p))%len(p)] ^= 0x10; return p }
}

func gone([]byte) []byte { return nil }

func cut(p []byte) []byte { return p[:len(p)/2] }

var damages = []struct {
	name, prefix string
	change       func([]byte) []byte
}{
	{"chunk", "packs/s-a/d", flip(5000)},
	{"table of contents", "packs/s-a/d", flip(-20)},
	{"pack cut", "packs/s-a/d", cut},
	{"pack gone", "packs/s-a/d", gone},
	{"node", "packs/s-a/m", flip(60)},
	{"nodes gone", "packs/s-a/m", gone},
	{"newer nodes gone", "packs/s-b/m", gone},
	{"segment", "index/s-a/", flip(100)},
	{"segment gone", "index/s-a/", gone},
	{"segment and table", "", nil},
	{"manifest", "backups/a", flip(60)},
	{"manifest gone", "backups/b", gone},
	{"everything of a session", "", nil},
}

func (f *fixture) damage(i int) {
	d := damages[i]
	switch d.name {
	case "segment and table":
		f.st.Tamper(f.names("index/s-a/")[0], flip(100))
		f.st.Tamper(f.names("packs/s-a/d")[1], flip(-20))
	case "everything of a session":
		for _, prefix := range []string{"packs/s-a/", "index/s-a/", "backups/a"} {
			for _, name := range f.names(prefix) {
				f.st.Tamper(name, gone)
			}
		}
	default:
		f.st.Tamper(f.names(d.prefix)[0], d.change)
	}
}

// Whatever is damaged is healed from the other site, once; and the collection
// after it removes what was damaged.
func TestHealsFromAnotherSite(t *testing.T) {
	for i, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			f := newFixture(t)
			f.damage(i)
			before := f.names("")
			o := repair.Options{Sources: []*vault.Vault{f.open(f.copied)}, Expect: []string{"a", "b"}, DryRun: true}
			dry := f.repair(o)
			if after := f.names(""); !slices.Equal(after, before) {
				t.Fatalf("a dry run changed %v to %v", before, after)
			}
			o.DryRun = false
			r := f.repair(o)
			if !r.OK || len(r.Remaining) > 0 || !dry.OK || dry.Healed.Chunks != r.Healed.Chunks || dry.Healed.Nodes != r.Healed.Nodes {
				t.Fatalf("%+v, dry run %+v", r, dry)
			}
			f.whole()
			stored := f.names("")
			if again := f.repair(o); !again.OK || again.Healed.Chunks+again.Healed.Nodes+len(again.Healed.Manifests) > 0 {
				t.Fatalf("the second time: %+v", again)
			}
			if after := f.names(""); !slices.Equal(after, stored) {
				t.Fatalf("the second time changed %v to %v", stored, after)
			}
			f.collect()
			f.whole()
			if left := append(f.names("damaged/"), f.names("sessions/")...); len(left) > 0 {
				t.Fatalf("left: %v", left)
			}
		})
	}
}

// Without a source, what is lost is named, exactly: a chunk in both backups.
func TestNamesWhatRemains(t *testing.T) {
	f := newFixture(t)
	f.damage(0)
	r := f.repair(repair.Options{})
	if r.OK || len(r.Remaining) != 2 {
		t.Fatalf("%+v", r)
	}
	for i, id := range []string{"a", "b"} {
		if d := r.Remaining[i]; d.Backup != id || d.Image != "d" || d.Length != chunkSize || d.Offset%chunkSize != 0 {
			t.Errorf("%+v", d)
		}
	}
	if r.Healed.Chunks == 0 {
		t.Error("the healthy chunks of the damaged pack were left where they are")
	}
}

// A live disk heals where it is still the same, and nowhere else.
func TestHealsFromALiveDisk(t *testing.T) {
	for i, d := range damages[:9] {
		t.Run(d.name, func(t *testing.T) {
			f := newFixture(t)
			f.damage(i)
			disk := f.disks["b"]
			o := repair.Options{Disks: []repair.Disk{{Image: "other", Size: int64(len(disk)), Read: bytes.NewReader(disk)}}}
			r := f.repair(o)
			if lost := d.name != "table of contents" && d.name[:min(7, len(d.name))] != "segment"; lost == r.OK {
				t.Fatalf("from another disk: %+v", r)
			}
			o.Disks[0].Image = "d"
			r = f.repair(o)
			// The leaf over the changed chunk and the root of "a" are not what the disk gives.
			if r.OK != (d.name != "nodes gone") {
				t.Fatalf("%+v", r)
			}
			for _, d := range r.Remaining {
				if d.Backup != "a" {
					t.Errorf("%+v", d)
				}
			}
			if r.OK {
				f.whole()
			}
		})
	}
}

// A full backup stores again what lies in a pack that a check found damaged, and
// so heals the older ones.
func TestNextBackupHeals(t *testing.T) {
	f := newFixture(t)
	f.damage(0)
	if r, err := check.Run(t.Context(), f.open(f.st), check.Options{ReadData: true, Mark: true}); err != nil || r.OK {
		t.Fatalf("%v, %+v", err, r)
	}
	if r, err := check.Run(t.Context(), f.open(f.st), check.Options{}); err != nil || len(r.Damages) != 2 || len(r.Known) != 1 {
		t.Fatalf("the structure alone: %v, %+v", err, r)
	}
	disk := f.disks["b"]
	f.write(f.open(f.st), "c", "", disk, vault.Range{Length: int64(len(disk))})
	f.whole()
	f.collect()
	f.whole()
	if left := f.names("damaged/"); len(left) > 0 {
		t.Fatalf("left: %v", left)
	}
}
