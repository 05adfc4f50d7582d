package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
	"holdfast/vault/keys"
)

const chunkSize = 4 << 10

// fixture is a vault with backup "a" of one disk and "b", an incremental of it.
type fixture struct {
	st   *mem.Storage
	ring keys.Ring
	disk []byte
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	f := fixture{mem.New(), keys.NewRing(), make([]byte, 600*chunkSize)}
	account := keys.NewAccountKey()
	v, err := vault.Init(t.Context(), f.st, vault.Config{Account: "acc", Ring: f.ring,
		WrappedRing: account.WrapRing("acc", f.ring), ChunkSize: chunkSize, PackSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range f.disk {
		f.disk[i] = byte(r.Uint32())
	}
	write(t, v, "a", "", f.disk, vault.Range{Length: int64(len(f.disk))})
	f.disk[300*chunkSize] ^= 1
	write(t, v, "b", "a", f.disk, vault.Range{Offset: 300 * chunkSize, Length: 1})
	return f
}

func write(t *testing.T, v *vault.Vault, id, parent string, disk []byte, r vault.Range) {
	t.Helper()
	err := v.Write(t.Context(), "s-"+id, func(ctx context.Context, s *vault.Session) error {
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
		t.Fatal(err)
	}
}

func (f fixture) names(t *testing.T, prefix string) (names []string) {
	t.Helper()
	for info, err := range f.st.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

func (f fixture) check(t *testing.T, o check.Options) check.Report {
	t.Helper()
	v, err := vault.Open(t.Context(), f.st, f.ring)
	if err != nil {
		t.Fatal(err)
	}
	r, err := check.Run(t.Context(), v, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (f fixture) flip(t *testing.T, name string, at int) {
	t.Helper()
	if !f.st.Tamper(name, func(p []byte) []byte { p[at] ^= 0x10; return p }) {
		t.Fatalf("no blob %s", name)
	}
}

func affected(r check.Report) map[string]int64 {
	lost := map[string]int64{}
	for _, d := range r.Damages {
		lost[d.Backup] += d.Length
	}
	return lost
}

func TestWholeVault(t *testing.T) {
	f := newFixture(t)
	for _, o := range []check.Options{{}, {ReadData: true}, {Sample: 0.5}} {
		r := f.check(t, o)
		if !r.OK || r.Backups != 2 || r.Images != 2 || r.Chunks != 1200 || r.Packs == 0 {
			t.Errorf("%+v: %+v", o, r)
		}
		if o.ReadData != (r.BytesRead == r.PackBytes) {
			t.Errorf("%+v: read %d of %d bytes", o, r.BytesRead, r.PackBytes)
		}
	}
	data, err := json.Marshal(f.check(t, check.Options{}))
	if err != nil || !bytes.Contains(data, []byte(`"damages":[]`)) {
		t.Errorf("report %s, %v", data, err)
	}
}

// A flipped bit in one chunk is found by reading, and named in every backup that
// shares the chunk, and nowhere else.
func TestDamagedChunk(t *testing.T) {
	f := newFixture(t)
	pack := f.names(t, "packs/s-a/d")[0]
	f.flip(t, pack, 5000)
	if r := f.check(t, check.Options{}); !r.OK {
		t.Errorf("structure alone found %+v", r)
	}
	r := f.check(t, check.Options{ReadData: true})
	if lost := affected(r); r.OK || lost["a"] != chunkSize || lost["b"] != chunkSize {
		t.Errorf("lost %v: %+v", lost, r.Damages)
	}
	if len(r.Blobs) != 1 || r.Blobs[0].Name != pack {
		t.Errorf("blobs %+v", r.Blobs)
	}
}

func TestDamageByBlob(t *testing.T) {
	for _, c := range []struct {
		name   string
		prefix string
		gone   bool // removed, else its first sealed byte is flipped
		lost   map[string]bool
		blobs  bool
	}{
		{"pack of both gone", "packs/s-a/d", true, map[string]bool{"a": true, "b": true}, false},
		{"pack of the newer gone", "packs/s-b/d", true, map[string]bool{"b": true}, false},
		{"tree of the newer gone", "packs/s-b/m", true, map[string]bool{"b": true}, false},
		{"tree of the older damaged", "packs/s-a/m", false, map[string]bool{"a": true, "b": true}, true},
		{"manifest damaged", "backups/a", false, map[string]bool{"a": true}, false},
		{"index damaged", "index/s-a/", false, nil, true},
		{"index gone", "index/s-a/", true, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			name := f.names(t, c.prefix)[0]
			if c.gone {
				f.st.Tamper(name, func([]byte) []byte { return nil })
			} else {
				f.flip(t, name, 60)
			}
			r := f.check(t, check.Options{})
			for _, id := range []string{"a", "b"} {
				if _, lost := affected(r)[id]; lost != c.lost[id] {
					t.Errorf("backup %s lost: %v; %+v", id, lost, r.Damages)
				}
			}
			if (len(r.Blobs) > 0) != c.blobs {
				t.Errorf("blobs %+v", r.Blobs)
			}
			for _, d := range r.Damages {
				if d.Reason == "" || strings.Contains(d.Reason, "secret") {
					t.Errorf("reason %q", d.Reason)
				}
			}
		})
	}
}

// A table of contents is only needed to make up for the index: its damage is
// reported, and no backup suffers.
func TestDamagedTable(t *testing.T) {
	f := newFixture(t)
	pack := f.names(t, "packs/s-a/d")[0]
	info, err := f.st.Stat(t.Context(), pack)
	if err != nil {
		t.Fatal(err)
	}
	f.flip(t, pack, int(info.Size)-20)
	r := f.check(t, check.Options{ReadData: true})
	if len(r.Damages) != 0 || len(r.Blobs) != 1 || r.OK {
		t.Errorf("%+v", r)
	}
}
