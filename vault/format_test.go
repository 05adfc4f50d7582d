package vault_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"holdfast/vault/blob/mem"
	"holdfast/vault/keys"
)

// byHand reads a vault by FORMAT.md and nothing of ours but the storage: what it
// cannot read, the document does not tell.
type byHand struct {
	t      *testing.T
	st     *mem.Storage
	idKey  []byte
	data   map[uint32][]byte
	chunks map[string]placeByHand // by id
	size   int                    // of a chunk
}

type placeByHand struct {
	pack        string
	off         int
	sealed      int
	ordinal     uint64
	plain       uint32
	codec, kind byte
}

func (h *byHand) get(name string) []byte {
	data, err := h.st.Get(context.Background(), name, 1<<30)
	if err != nil {
		h.t.Fatal(err)
	}
	return data
}

func (h *byHand) list(prefix string) (names []string) {
	for info, err := range h.st.List(context.Background(), prefix) {
		if err != nil {
			h.t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

func derive(ctx string, material ...byte) []byte {
	out := make([]byte, 32)
	blake3.DeriveKey(ctx, material, out)
	return out
}

func keyed(key, data []byte) []byte {
	h, err := blake3.NewKeyed(key)
	if err != nil {
		panic(err)
	}
	_, _ = h.Write(data)
	return h.Sum(nil)
}

func (h *byHand) open(key, nonce, sealed, ad []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		h.t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		h.t.Fatal(err)
	}
	plain, err := aead.Open(nil, nonce, sealed, ad)
	if err != nil {
		h.t.Fatalf("%v (ad %q)", err, ad)
	}
	return plain
}

// unseal follows section 3.
func (h *byHand) unseal(header []byte, ordinal uint64, id []byte, plain uint32, codec byte, sealed []byte) []byte {
	epoch := binary.LittleEndian.Uint32(header[8:])
	key := derive("holdfast 2026 v1 data key and salt to sealing key", append(bytes.Clone(h.data[epoch]), header[16:48]...)...)
	nonce := binary.BigEndian.AppendUint64(make([]byte, 4), ordinal)
	ad := binary.LittleEndian.AppendUint64(bytes.Clone(header[:48]), ordinal)
	ad = append(ad, id...)
	ad = append(binary.LittleEndian.AppendUint32(ad, plain), codec)
	return h.open(key, nonce, sealed, ad)
}

// unlock follows section 1, from a printed kit.
func (h *byHand) unlock(kit string) {
	account := between(kit, "Account:", "\n")
	text := strings.NewReplacer("-", "", " ", "", "\n", "").Replace(between(kit, "Key:", "\n\n"))
	raw, err := base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil {
		h.t.Fatal(err)
	}
	names := h.list("keys/ring-")
	var b struct{ Wrapped []byte }
	if err := json.Unmarshal(h.get(names[len(names)-1]), &b); err != nil {
		h.t.Fatal(err)
	}
	key := derive("holdfast 2026 v1 account key wraps key ring", raw[1:33]...)
	ring := h.open(key, b.Wrapped[1:13], b.Wrapped[13:], []byte("holdfast key ring v1\x00"+account))
	h.idKey, h.data = ring[1:33], map[uint32][]byte{}
	for rest := ring[37:]; len(rest) > 0; rest = rest[36:] {
		h.data[binary.LittleEndian.Uint32(rest)] = rest[4:36]
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return strings.TrimSpace(s)
}

// params follows section 2.
func (h *byHand) params() {
	var p struct {
		Format, ChunkSize, PackSize int
		Vault, CreatedAt, MAC       string
	}
	if err := json.Unmarshal(h.get("vault.json"), &p); err != nil {
		h.t.Fatal(err)
	}
	text := fmt.Sprintf("%d\n%s\n%d\n%d\n%s\n", p.Format, p.Vault, p.ChunkSize, p.PackSize, p.CreatedAt)
	if got := hex.EncodeToString(keyed(derive("holdfast 2026 v1 id key to parameters", h.idKey...), []byte(text))); got != p.MAC {
		h.t.Fatalf("mac %s, want %s", got, p.MAC)
	}
	h.size = p.ChunkSize
}

// segments follows section 6.
func (h *byHand) segments() {
	u := binary.LittleEndian.Uint32
	h.chunks = map[string]placeByHand{}
	for _, name := range h.list("index/") {
		data := h.get(name)
		trail := data[len(data)-24:]
		entries, packs := int(u(trail)), int(u(trail[4:]))
		id := blake3.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", name, entries, packs))
		at := 48
		block := func(ordinal uint64, n int) []byte {
			sealed := data[at : at+n+16]
			at += n + 16
			return h.unseal(data, ordinal, id[:], uint32(n), 0, sealed)
		}
		var es, ps []byte
		for i := 0; i < entries; i += 256 {
			es = append(es, block(uint64(i/256), 52*min(256, entries-i))...)
		}
		for i := 0; i < packs; i += 256 {
			ps = append(ps, block(1<<40+uint64(i/256), 128*min(256, packs-i))...)
		}
		for ; len(es) > 0; es = es[52:] {
			p := ps[128*u(es[32:]):]
			meta := u(es[48:])
			h.chunks[string(es[:32])] = placeByHand{
				pack: fmt.Sprintf("packs/%s/%c%x", p[1:1+p[0]], p[65], p[68:84]), ordinal: uint64(u(es[36:])),
				off: int(u(es[40:])), sealed: int(u(es[44:])), plain: meta & (1<<24 - 1), codec: byte(meta >> 24 & 15), kind: byte(meta >> 28)}
		}
	}
}

// chunk follows section 4.
func (h *byHand) chunk(kind byte, id []byte) []byte {
	p, ok := h.chunks[string(id)]
	if !ok || p.kind != kind {
		h.t.Fatalf("no chunk %x of kind %d", id, kind)
	}
	data := h.get(p.pack)
	out := h.unseal(data, p.ordinal, id, p.plain, p.codec, data[p.off:p.off+p.sealed])
	if p.codec == 1 {
		z, err := zstd.NewReader(nil)
		if err != nil {
			h.t.Fatal(err)
		}
		defer z.Close()
		if out, err = z.DecodeAll(out, nil); err != nil {
			h.t.Fatal(err)
		}
	}
	key := derive([]string{"holdfast 2026 v1 id key to chunk ids", "holdfast 2026 v1 id key to node ids"}[kind], h.idKey...)
	if len(out) != int(p.plain) || !bytes.Equal(keyed(key, out), id) {
		h.t.Fatalf("chunk %x is not what its id names", id)
	}
	return out
}

// walk follows section 7.
func (h *byHand) walk(id []byte, level, index int, disk []byte) {
	n := h.chunk(1, id)
	if n[0] != 1 || int(n[1]) != level {
		h.t.Fatalf("node of version %d, level %d", n[0], n[1])
	}
	rest := n[36:]
	for i := range 256 {
		if n[4+i/8]>>(i%8)&1 == 0 {
			continue
		}
		if level == 0 {
			copy(disk[(index*256+i)*h.size:], h.chunk(0, rest[:32]))
			rest = rest[32:]
		} else {
			h.walk(rest[:32], level-1, index*256+i, disk)
			rest = rest[36:]
		}
	}
}

func TestFormatDocument(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := randomDisk(newRand(50), 3<<20+777) // more than 256 chunks, packs and blocks
	mustBackup(t, v, "b1", disk, "", whole(disk))
	kit, err := keys.Kit{Account: "acc-1", Key: o.account}.Text()
	if err != nil {
		t.Fatal(err)
	}
	h := &byHand{t: t, st: st}
	h.unlock(kit)
	h.params()
	h.segments()
	blob := h.get("backups/b1")
	id := blake3.Sum256([]byte("backups/b1"))
	var m struct {
		Images []struct {
			Size int
			Root string
		}
	}
	if err := json.Unmarshal(h.unseal(blob, 0, id[:], uint32(len(blob)-64), 0, blob[48:]), &m); err != nil {
		t.Fatal(err)
	}
	root, err := hex.DecodeString(m.Images[0].Root)
	if err != nil {
		t.Fatal(err)
	}
	level := 0
	for n := 256; n < (m.Images[0].Size+h.size-1)/h.size; n *= 256 {
		level++
	}
	got := make([]byte, m.Images[0].Size)
	h.walk(root, level, 0, got)
	if !bytes.Equal(got, disk) {
		t.Fatalf("wrong bytes at %d", firstDiff(got, disk))
	}
	h.tables()
}

// tables follows section 5: the packs alone tell what the index tells.
func (h *byHand) tables() {
	u := binary.LittleEndian.Uint32
	found := 0
	for _, name := range h.list("packs/") {
		data := h.get(name)
		end := len(data) - 16
		count := int(u(data[end:]))
		id := blake3.Sum256([]byte(name))
		toc := h.unseal(data, 1<<32, id[:], uint32(44*count), 0, data[end-44*count-16:end])
		off := 48
		for i := range count {
			e := toc[44*i:]
			want := placeByHand{name, off, int(u(e[36:])), uint64(i), u(e[40:]), e[33], e[32]}
			if h.chunks[string(e[:32])] != want {
				h.t.Fatalf("%s, chunk %d: %+v, index %+v", name, i, want, h.chunks[string(e[:32])])
			}
			off += want.sealed
			found++
		}
	}
	if found != len(h.chunks) || found == 0 {
		h.t.Fatalf("%d chunks in packs, %d in the index", found, len(h.chunks))
	}
}
