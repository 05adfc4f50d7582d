package vault_test

import (
	"bytes"
	"errors"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
	"holdfast/vault/chunk"
	"holdfast/vault/index"
	"holdfast/vault/pack"
	"holdfast/vault/seal"
)

// forge rewrites a stored pack, and its table of contents if it was given one, as
// somebody could who stole the ring and can write to the storage.
func forge(t *testing.T, st *mem.Storage, o owner, name string, content func(i int, e pack.Entry) []byte) {
	t.Helper()
	data, err := st.Get(t.Context(), name, pack.MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	info, entries, err := pack.ParseTOC(o.ring, name, data, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pack.NewBuilder(o.ring, info, make([]byte, 0, pack.MaxSize))
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		p := content(i, e)
		b.Reserve(e.Kind, e.ID, chunk.Raw, len(p), len(p)).Put(p)
	}
	_, _, forged := b.Finish()
	st.Tamper(name, func([]byte) []byte { return forged })
}

// Content that is sealed well but is not what the id names: the id check is what
// refuses it.
func TestForgedContent(t *testing.T) {
	st := mem.New()
	v, o := initVault(t, st)
	disk := noisy(60, 20)
	mustBackup(t, v, "b1", disk, "", whole(disk))
	for _, name := range packsOf(t, st, "packs/s-b1/d") {
		forge(t, st, o, name, func(_ int, e pack.Entry) []byte { return make([]byte, e.Plain) })
	}
	_, err := restore(t.Context(), v, "b1")
	var damaged *vault.DamagedError
	if !errors.As(err, &damaged) || !errors.Is(err, vault.ErrContent) {
		t.Fatalf("restore: %v", err)
	}
}

// An index whose entries lie over one another, or point at other chunks: an error,
// or the right bytes by the packs' own tables of contents, never others.
func TestForgedIndex(t *testing.T) {
	disk := noisy(61, 20)
	for name, twist := range map[string]func(es []pack.Entry){
		"all in one place": func(es []pack.Entry) {
			for i := range es {
				es[i].Offset = es[0].Offset
			}
		},
		"overlapping": func(es []pack.Entry) {
			for i := range es {
				es[i].Offset = es[0].Offset + uint32(i)
				es[i].Sealed = 4000 - uint32(300*(i%12))
				es[i].Codec = chunk.Zstd
			}
		},
		"exchanged": func(es []pack.Entry) { es[0].ID, es[1].ID = es[1].ID, es[0].ID },
		"other kind": func(es []pack.Entry) {
			for i := range es {
				es[i].Kind = chunk.Node
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := mem.New()
			v, o := initVault(t, st)
			mustBackup(t, v, "b1", disk, "", whole(disk))
			var all []index.Contents
			for _, name := range packsOf(t, st, "packs/") {
				data, err := st.Get(t.Context(), name, pack.MaxSize)
				if err != nil {
					t.Fatal(err)
				}
				info, entries, err := pack.ParseTOC(o.ring, name, data, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if info.Class == pack.Data {
					twist(entries)
				}
				all = append(all, index.Contents{Info: info, Entries: entries})
			}
			seg := packsOf(t, st, "index/")[0]
			data, err := index.Encode(o.ring, seal.NewHeader(seal.Index, 1), seg, index.NewPart(all))
			if err != nil {
				t.Fatal(err)
			}
			st.Tamper(seg, func([]byte) []byte { return data })
			again, err := vault.Open(t.Context(), st, o.ring)
			if err != nil {
				t.Fatal(err)
			}
			var damaged *vault.DamagedError
			got, err := restore(t.Context(), again, "b1")
			if err == nil && !bytes.Equal(got, disk) || err != nil && !errors.As(err, &damaged) {
				t.Fatalf("restore: %v, right bytes: %v", err, bytes.Equal(got, disk))
			}
			if err != nil && name != "other kind" {
				t.Errorf("the packs' own tables did not serve: %v", err)
			}
		})
	}
}
