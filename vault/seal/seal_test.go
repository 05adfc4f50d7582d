package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"holdfast/vault/keys"
	"holdfast/vault/seal"
)

func TestEverythingIsBound(t *testing.T) {
	ring := keys.NewRing()
	h := seal.NewHeader(seal.Pack, 1)
	box, err := seal.NewBox(ring, h)
	if err != nil {
		t.Fatal(err)
	}
	f := seal.Frame{Ordinal: 7, ID: [32]byte{1}, Plain: 5, Codec: 1}
	sealed := box.Seal(nil, []byte("hello"), f)
	if got, err := box.Open(nil, sealed, f); err != nil || string(got) != "hello" {
		t.Fatalf("open = %q, %v", got, err)
	}
	refuse := func(what string, b *seal.Box, sealed []byte, f seal.Frame) {
		t.Helper()
		if _, err := b.Open(nil, sealed, f); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, change := range map[string]func(*seal.Frame){
		"ordinal": func(f *seal.Frame) { f.Ordinal++ }, "id": func(f *seal.Frame) { f.ID[31] = 1 },
		"plain length": func(f *seal.Frame) { f.Plain++ }, "codec": func(f *seal.Frame) { f.Codec = 0 },
	} {
		other := f
		change(&other)
		refuse(what, box, sealed, other)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		refuse("changed byte", box, bad, f)
	}
	for what, oh := range map[string]seal.Header{
		"kind": {Kind: seal.Index, Epoch: 1, Salt: h.Salt}, "salt": {Kind: seal.Pack, Epoch: 1},
	} {
		ob, err := seal.NewBox(ring, oh)
		if err != nil {
			t.Fatal(err)
		}
		refuse(what, ob, sealed, f)
	}
	ob, err := seal.NewBox(keys.NewRing(), h)
	if err != nil {
		t.Fatal(err)
	}
	refuse("another ring", ob, sealed, f)
	if _, err := seal.NewBox(ring, seal.NewHeader(seal.Pack, 9)); !errors.Is(err, keys.ErrEpoch) {
		t.Errorf("unknown epoch: %v", err)
	}
}

func TestRotatedEpochs(t *testing.T) {
	ring := keys.NewRing()
	old, err := seal.Object(ring, seal.NewHeader(seal.Manifest, ring.Current()), "n", []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	if ring, err = ring.Rotate(); err != nil {
		t.Fatal(err)
	}
	if got, err := seal.OpenObject(ring, seal.Manifest, "n", old); err != nil || string(got) != "old" {
		t.Errorf("after rotation: %q, %v", got, err)
	}
}

// Whoever can write to the storage chooses these bytes.
func FuzzOpenObject(f *testing.F) {
	ring := keys.NewRing()
	good, err := seal.Object(ring, seal.NewHeader(seal.Manifest, 1), "name", []byte("content"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:50])
	f.Add([]byte("HOLD\x01M\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := seal.OpenObject(ring, seal.Manifest, "name", data)
		if err == nil && !bytes.Equal(data, good) {
			t.Errorf("forged bytes opened as %q", got)
		}
		if h, err := seal.ParseHeader(data, seal.Pack); err == nil && !bytes.Equal(h.Append(nil), data[:seal.HeaderSize]) {
			t.Error("a header does not write as it was read")
		}
	})
}
