package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
	"holdfast/vault/chunk"
	"holdfast/vault/keys"
	"holdfast/vault/manifest"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// goldenVault is a vault with the same keys and bytes in every process, so that
// what a fuzzer keeps goes on meaning what it meant.
type goldenVault struct {
	st    *mem.Storage
	ring  keys.Ring
	names []string
	disks map[string][]byte // by backup; each has one
}

func golden(t testing.TB) goldenVault {
	t.Helper()
	from := filepath.Join("..", "test", "compat", "testdata", "v1-lost-segment")
	g := goldenVault{st: mem.New(), disks: map[string][]byte{}}
	files := os.DirFS(filepath.Join(from, "vault"))
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		g.names = append(g.names, name)
		return errors.Join(err, g.st.PutNew(t.Context(), name, data))
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(from, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(t.TempDir(), "master.key") // a checkout does not keep the mode
	if err := os.WriteFile(private, text, 0o600); err != nil {
		t.Fatal(err)
	}
	master, err := keys.LoadMasterKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, g.ring, err = vault.Unlock(t.Context(), g.st, master); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"bkp-1", "bkp-2"} {
		if g.disks[id], err = readOnly(t.Context(), g.open(t, g.st), id); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (g goldenVault) open(t testing.TB, st *mem.Storage) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), st, g.ring)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readOnly restores a backup's first image; of a large one it looks at the ends.
func readOnly(ctx context.Context, v *vault.Vault, id string) ([]byte, error) {
	m, err := v.Manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(m.Images) == 0 {
		return nil, errors.New("no image")
	}
	r, err := v.OpenImage(ctx, m.Images[0])
	if err != nil {
		return nil, err
	}
	if r.Size() > 4<<20 {
		_, err := r.ReadAt(make([]byte, 1), 0)
		_, last := r.ReadAt(make([]byte, 1), r.Size()-1)
		return nil, errors.Join(err, last)
	}
	disk := newMemDisk(r.Size())
	return disk.data, r.Restore(ctx, disk, vault.RestoreOptions{})
}

// whatIsRead fails when any of the vault's own backups reads as other bytes; an
// error is allowed unless whole.
func (g goldenVault) whatIsRead(t *testing.T, st *mem.Storage, whole bool) {
	t.Helper()
	v, err := vault.Open(t.Context(), st, g.ring)
	if err != nil {
		if whole {
			t.Fatal(err)
		}
		return
	}
	for id, want := range g.disks {
		got, err := readOnly(t.Context(), v, id)
		if err == nil && !bytes.Equal(got, want) {
			t.Errorf("backup %s reads as other bytes", id)
		}
		if err != nil && whole {
			t.Errorf("backup %s: %v", id, err)
		}
	}
}

// Whoever can write to a site changes any blob in any way: an error, or the
// right bytes.
func FuzzStored(f *testing.F) {
	g := golden(f)
	for i := range g.names {
		f.Add(uint(i), uint(50), []byte{1, 2, 3}, false)
		f.Add(uint(i), uint(0), []byte(nil), true)
	}
	f.Fuzz(func(t *testing.T, which, at uint, patch []byte, cut bool) {
		st := g.st.Clone()
		st.Tamper(g.names[which%uint(len(g.names))], func(p []byte) []byte {
			at := int(at % uint(len(p)))
			end := min(at+len(patch), len(p))
			for i := at; i < end; i++ {
				p[i] ^= patch[i-at]
			}
			if cut {
				return append(p[:at:at], patch...)
			}
			return p
		})
		g.whatIsRead(t, st, false)
	})
}

// What a thief of the keys could seal: manifests, plans and nodes of any content.
// All of it ends, and harms no other backup.
func FuzzSealed(f *testing.F) {
	g := golden(f)
	for _, s := range g.sealedSeeds(f) {
		f.Add(s.kind, s.payload)
	}
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		if len(payload) > manifest.MaxSize {
			return
		}
		st := g.st.Clone()
		switch kind {
		case 'M':
			g.putObject(t, st, seal.Manifest, "backups/forged", payload)
		case 'N':
			g.putRoot(t, st, payload)
		case 'C':
			g.putObject(t, st, seal.Plan, "plans/00000001", payload)
			collectForged(t, g.open(t, st))
		default:
			return
		}
		v := g.open(t, st)
		_, _ = readOnly(t.Context(), v, "forged")
		if _, err := check.Run(t.Context(), v, check.Options{}); err != nil {
			t.Errorf("check: %v", err)
		}
		g.whatIsRead(t, st, true)
	})
}

func (g goldenVault) putObject(t testing.TB, st *mem.Storage, kind seal.Kind, name string, plain []byte) {
	t.Helper()
	data, err := seal.Object(g.ring, seal.NewHeader(kind, g.ring.Current()), name, plain)
	if err == nil {
		err = st.PutNew(t.Context(), name, data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// putRoot puts any bytes as the root of the image of a backup that is called
// forged, so large that the root is of the level that the bytes claim.
func (g goldenVault) putRoot(t testing.TB, st *mem.Storage, node []byte) {
	t.Helper()
	level := 0
	if len(node) > 1 {
		level = int(node[1] % 5)
	}
	id := g.putChunk(t, st, chunk.Node, node)
	size := int64(8<<10) << (8 * level) * 200
	m := manifest.Manifest{Backup: "forged", Session: "s", CreatedAt: time.Unix(0, 0), Images: []manifest.Image{{Name: "x", Size: min(size, manifest.MaxDisk), Root: id, Chunks: 1}}}
	data, err := manifest.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	g.putObject(t, st, seal.Manifest, "backups/forged", data)
}

// putChunk stores one chunk in a pack of its own, without an index.
func (g goldenVault) putChunk(t testing.TB, st *mem.Storage, kind chunk.Kind, plain []byte) chunk.ID {
	t.Helper()
	if len(plain) == 0 || len(plain) > 8<<10 {
		return chunk.ID{1}
	}
	id := chunk.NewHasher(g.ring).Sum(kind, plain)
	class := pack.Data
	if kind == chunk.Node {
		class = pack.Meta
	}
	b, err := pack.NewBuilder(g.ring, pack.NewInfo("forged", class, g.ring.Current()), make([]byte, 0, len(plain)+4096))
	if err != nil {
		t.Fatal(err)
	}
	b.Reserve(kind, id, chunk.Raw, len(plain), len(plain)).Put(plain)
	info, _, data := b.Finish()
	if err := st.PutNew(t.Context(), info.Name(), data); err != nil {
		t.Fatal(err)
	}
	return id
}

// collectForged executes whatever plan stands.
func collectForged(t *testing.T, v *vault.Vault) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	o := vault.CollectOptions{Poll: time.Millisecond, Session: func(string) vault.SessionState { return vault.SessionDead }}
	if p, err := v.PlanCollection(ctx, o); err == nil {
		_, _ = v.Collect(ctx, p, o)
	}
	if ctx.Err() != nil {
		t.Error("a collection hung")
	}
}

type sealedSeed struct {
	kind    byte
	payload []byte
}

func (g goldenVault) sealedSeeds(t testing.TB) (all []sealedSeed) {
	t.Helper()
	add := func(kind byte, v any) {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sealedSeed{kind, data})
	}
	type object = map[string]any
	add('M', object{"format": 1, "backup": "forged", "session": "s", "images": []object{{"name": "../x", "size": 1 << 50}}})
	add('M', object{"format": 1, "backup": "bkp-1", "session": "s"})
	var condemned []object
	for _, name := range g.names {
		if fi, err := g.st.Stat(t.Context(), name); err == nil && name[:5] == "packs" {
			condemned = append(condemned, object{"name": name, "size": fi.Size}, object{"name": name, "size": -1, "keep": []byte{255}})
		}
	}
	add('C', object{"number": 1, "condemned": condemned, "segments": g.names, "unindexed": g.names, "known": []string{"bkp-1"}})
	add('C', object{"number": 1, "ends": []string{"../../x", "op-bkp-1"}, "sessions": []string{""}})
	leaf := make([]byte, 36+32)
	leaf[0], leaf[4], leaf[36] = 1, 1, 7
	inner := make([]byte, 36+36)
	inner[0], inner[1], inner[4], inner[36], inner[68] = 1, 2, 128, 7, 1
	return append(all, sealedSeed{'N', leaf}, sealedSeed{'N', inner})
}
