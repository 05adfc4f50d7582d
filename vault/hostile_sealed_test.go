package vault_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/check"
	"holdfast/vault/chunk"
	"holdfast/vault/manifest"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

const goldenChunk = 8 << 10

// evil is what a thief of the keys, or a former writer, put beside good backups.
// Unless it is harmless, the backup that is called forged cannot be restored.
type evil struct {
	name     string
	harmless bool
	put      func(t *testing.T, g goldenVault, st *mem.Storage)
}

var evils = []evil{
	{"a chunk that decodes to 128 MiB", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		bomb := encode(t, make([]byte, 128<<20), zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.SpeedBestCompression))
		g.putImage(t, st, g.putPayload(t, st, chunk.Data, chunk.ID{1}, chunk.Zstd, bomb, goldenChunk))
	}},
	{"many frames in a chunk", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		frames := bytes.Repeat(encode(t, make([]byte, goldenChunk)), 300)
		g.putImage(t, st, g.putPayload(t, st, chunk.Data, chunk.ID{1}, chunk.Zstd, frames[:min(len(frames), goldenChunk-1)], goldenChunk))
	}},
	{"a window of 512 MiB", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		// Magic, no single segment, a window of 2^(10+19) bytes, one last block: 200 zeros.
		frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 19 << 3, 0x43, 0x06, 0, 0}
		id := chunk.NewHasher(g.ring).Sum(chunk.Data, make([]byte, 200))
		g.putPayload(t, st, chunk.Data, id, chunk.Zstd, frame, 200)
		g.putManifest(t, st, 200, g.putChunk(t, st, chunk.Node, node(0, 1, id, 0)))
	}},
	{"a node that names itself", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		id := chunk.ID{7}
		g.putManifest(t, st, 1<<50, g.putPayload(t, st, chunk.Node, id, chunk.Raw, node(4, 32, id, 1), len(node(4, 32, id, 1))))
	}},
	{"the greatest tree there can be, of one chunk", true, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putManifest(t, st, manifest.MaxDisk, g.putTree(t, st, g.putChunk(t, st, chunk.Data, make([]byte, goldenChunk))))
	}},
	{"the greatest tree there can be, of a chunk that is lost", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putManifest(t, st, manifest.MaxDisk, g.putTree(t, st, chunk.ID{9}))
	}},
	{"a table of more chunks than bytes", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putTable(t, st, chunk.ID{1}, 1<<18, []uint32{4000})
	}},
	{"a table of chunks beyond the pack", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putTable(t, st, chunk.ID{1}, 1, []uint32{1<<32 - 1})
	}},
	{"a table of chunks over one another", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putTable(t, st, chunk.ID{1}, 3, []uint32{4000, 1<<32 - 4000, 4000})
	}},
	{"100,000 images", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putJSON(t, st, `"images":[`+strings.Repeat(`{"name":"x"},`, 78_000)+`{}]`)
	}},
	{"350,000 empty images", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putJSON(t, st, `"images":[`+strings.Repeat(`{},`, 340_000)+`{}]`)
	}},
	{"a manifest like a well", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putJSON(t, st, `"x":`+strings.Repeat("[", 1_000_000))
	}},
	{"a disk larger than the largest", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putJSON(t, st, `"images":[{"name":"x","size":1125899906842625}]`)
	}},
	{"a disk of negative size", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putJSON(t, st, `"images":[{"name":"x","size":-1}]`)
	}},
	{"two disks of one name", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putJSON(t, st, `"images":[{"name":"x","size":1},{"name":"x","size":1}]`)
	}},
	{"a name that leaves its directory", true, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putJSON(t, st, `"images":[{"name":"../../etc/passwd\u0000\u001b[2J","size":1}]`)
	}},
	{"a plan of what is needed", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		all := `{"name":"` + strings.Join(g.packs(), `","size":100},{"name":"`) + `","size":100}`
		g.putPlan(t, st, `"condemned":[`+all+`],"segments":["`+strings.Join(g.names, `","`)+`"],"known":[]`)
	}},
	{"a plan of what is no pack", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putPlan(t, st, `"condemned":[{"name":"backups/bkp-1","size":1},{"name":"keys/ring-00000001","size":1}]`)
	}},
	{"a plan of negative sizes and foreign sessions", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putPlan(t, st, `"condemned":[{"name":"`+g.packs()[0]+`","size":-9223372036854775808,"keep":"/////w=="}],"ends":["../../x"]`)
	}},
	{"a plan of 2 million nothings", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		g.putPlan(t, st, `"condemned":[`+strings.Repeat(`{},`, 2_000_000)+`{}]`)
	}},
	{"10,000 sessions, tombstones and notices", false, func(t *testing.T, g goldenVault, st *mem.Storage) {
		for i := range 10_000 {
			for _, name := range []string{"sessions/z-%d", "tombstones/session-z-%d", "tombstones/backup-z-%d", "notices/z-%d"} {
				if err := st.PutNew(t.Context(), fmt.Sprintf(name, i), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}},
}

// Whatever was sealed with the account's own keys: it is refused or ends, within
// bounded time and memory, and the good backups go on reading as they were.
func TestHostileSealed(t *testing.T) {
	g := golden(t)
	for _, e := range evils {
		t.Run(e.name, func(t *testing.T) {
			st := g.st.Clone()
			e.put(t, g, st)
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			stop := peak()
			v := g.open(t, st)
			if err := restoreForged(ctx, v); (err == nil) != e.harmless {
				t.Errorf("restore: %v", err)
			}
			if _, err := check.Run(ctx, v, check.Options{ReadData: true}); err != nil {
				t.Errorf("check: %v", err)
			}
			o := vault.CollectOptions{Poll: time.Millisecond, Session: func(string) vault.SessionState { return vault.SessionDead }}
			if p, err := v.PlanCollection(ctx, o); err == nil {
				_, err = v.Collect(ctx, p, o)
				if err != nil && !vault.IsDamage(err) && !errors.Is(err, vault.ErrCollecting) {
					t.Logf("collect: %v", err)
				}
			}
			if ctx.Err() != nil {
				t.Error("it does not end")
			}
			if n := stop(); n > 160<<20 {
				t.Errorf("%d MiB were in use", n>>20)
			}
			g.whatIsRead(t, st, true)
		})
	}
}

// A disk of 2^50 bytes may be told; whoever restores it sees its size, and needs
// a place that takes as much. This one takes 16 MiB.
func restoreForged(ctx context.Context, v *vault.Vault) error {
	m, err := v.Manifest(ctx, "forged")
	if err != nil {
		return err
	}
	r, err := v.OpenImage(ctx, m.Images[0])
	if err != nil {
		return err
	}
	to := &small{left: 16 << 20}
	if err := r.Restore(ctx, to, vault.RestoreOptions{}); !errors.Is(err, errSmall) {
		return err
	}
	return nil
}

var errSmall = errors.New("the place is full")

type small struct{ left int64 }

func (s *small) WriteAt(p []byte, _ int64) (int, error) {
	if s.left -= int64(len(p)); s.left < 0 {
		return 0, errSmall
	}
	return len(p), nil
}

func encode(t *testing.T, plain []byte, o ...zstd.EOption) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, append(o, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(plain, nil)
}

// node is one with so many children of the same id.
func node(level byte, children int, id chunk.ID, count uint32) []byte {
	n := make([]byte, 36, 36+36*children) //nolint:makezero // the head is filled in
	n[0], n[1] = 1, level
	for i := range children {
		n[4+i/8] |= 1 << (i % 8)
		if n = append(n, id[:]...); level > 0 {
			n = binary.LittleEndian.AppendUint32(n, count)
		}
	}
	return n
}

func (g goldenVault) packs() (names []string) {
	for _, name := range g.names {
		if strings.HasPrefix(name, pack.Prefix) {
			names = append(names, name)
		}
	}
	return names
}

func (g goldenVault) putPlan(t *testing.T, st *mem.Storage, fields string) {
	t.Helper()
	g.putObject(t, st, seal.Plan, "plans/00000001", []byte(`{"number":1,`+fields+`}`))
}

func (g goldenVault) putJSON(t *testing.T, st *mem.Storage, fields string) {
	t.Helper()
	g.putObject(t, st, seal.Manifest, "backups/forged", []byte(`{"format":1,"backup":"forged","session":"s",`+fields+`}`))
}

func (g goldenVault) putManifest(t *testing.T, st *mem.Storage, size int64, root chunk.ID) {
	t.Helper()
	g.putJSON(t, st, fmt.Sprintf(`"images":[{"name":"x","size":%d,"root":"%x","chunks":%d}]`, size, root[:], (size+goldenChunk-1)/goldenChunk))
}

// putImage puts a backup whose disk is one chunk.
func (g goldenVault) putImage(t *testing.T, st *mem.Storage, id chunk.ID) {
	t.Helper()
	g.putManifest(t, st, goldenChunk, g.putChunk(t, st, chunk.Node, node(0, 1, id, 0)))
}

// putTree puts a tree of five levels in which every node has all its children,
// the same one each time.
func (g goldenVault) putTree(t *testing.T, st *mem.Storage, leaf chunk.ID) chunk.ID {
	t.Helper()
	id := g.putLarge(t, st, node(0, 256, leaf, 0))
	for level := byte(1); level < 4; level++ {
		id = g.putLarge(t, st, node(level, 256, id, 1<<(8*level)))
	}
	return g.putLarge(t, st, node(4, 32, id, 1<<32-1)) // 2^50 bytes are 32 × 2^32 chunks
}

// putLarge is putChunk for a node, which may be longer than a chunk.
func (g goldenVault) putLarge(t *testing.T, st *mem.Storage, n []byte) chunk.ID {
	t.Helper()
	return g.putPayload(t, st, chunk.Node, chunk.NewHasher(g.ring).Sum(chunk.Node, n), chunk.Raw, n, len(n))
}

// putPayload puts any payload under any id.
func (g goldenVault) putPayload(t *testing.T, st *mem.Storage, kind chunk.Kind, id chunk.ID, codec chunk.Codec, payload []byte, plain int) chunk.ID {
	t.Helper()
	b, err := pack.NewBuilder(g.ring, pack.NewInfo("forged", pack.Data, g.ring.Current()), make([]byte, 0, len(payload)+4096))
	if err != nil {
		t.Fatal(err)
	}
	b.Reserve(kind, id, codec, len(payload), plain).Put(payload)
	info, _, data := b.Finish()
	if err := st.PutNew(t.Context(), info.Name(), data); err != nil {
		t.Fatal(err)
	}
	return id
}

// putTable puts a pack of 4000 bytes with a sealed table of these sealed lengths,
// and a trailer that counts as it likes.
func (g goldenVault) putTable(t *testing.T, st *mem.Storage, id chunk.ID, count int, sealed []uint32) {
	t.Helper()
	info := pack.NewInfo("forged", pack.Data, g.ring.Current())
	box, err := seal.NewBox(g.ring, info.Header())
	if err != nil {
		t.Fatal(err)
	}
	var toc []byte
	for _, n := range sealed {
		toc = append(append(toc, id[:]...), 0, 1, 0, 0)
		toc = binary.LittleEndian.AppendUint32(toc, n)
		toc = binary.LittleEndian.AppendUint32(toc, goldenChunk)
	}
	data := append(info.Header().Append(nil), make([]byte, 4000)...)
	data = box.Seal(data, toc, seal.Frame{Ordinal: 1 << 32, ID: seal.NameID(info.Name()), Plain: uint32(len(toc))})
	data = append(binary.LittleEndian.AppendUint32(data, uint32(count)), 0, 0, 0, 0)
	if err := st.PutNew(t.Context(), info.Name(), append(data, "PACKTOC1"...)); err != nil {
		t.Fatal(err)
	}
	g.putImage(t, st, id)
}
