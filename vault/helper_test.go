package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

const (
	testChunk = 4 << 10
	testPack  = 64 << 10
)

// owner is an account with all its keys.
type owner struct {
	master  keys.MasterKey
	account keys.AccountKey
	ring    keys.Ring
}

func newOwner() owner {
	return owner{keys.NewMasterKey(), keys.NewAccountKey(), keys.NewRing()}
}

func (o owner) config() vault.Config {
	return vault.Config{
		Account: "acc-1", Ring: o.ring, WrappedAccount: o.master.WrapAccount("acc-1", o.account), MasterCheck: o.master.Check(),
		WrappedRing: o.account.WrapRing("acc-1", o.ring), ChunkSize: testChunk, PackSize: testPack,
	}
}

func initVault(t testing.TB, st blob.Storage) (*vault.Vault, owner) {
	t.Helper()
	o := newOwner()
	v, err := vault.Init(t.Context(), st, o.config())
	if err != nil {
		t.Fatal(err)
	}
	return v, o
}

func ranges(rs ...vault.Range) iter.Seq2[vault.Range, error] {
	return func(yield func(vault.Range, error) bool) {
		for _, r := range rs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func whole(disk []byte) iter.Seq2[vault.Range, error] {
	return ranges(vault.Range{Length: int64(len(disk))})
}

// backup writes one disk as one backup in a session of its own.
func backup(ctx context.Context, v *vault.Vault, id string, disk []byte, parent string, rs iter.Seq2[vault.Range, error]) (vault.Manifest, error) {
	return backupUntil(ctx, v, id, disk, parent, rs, time.Time{})
}

// backupUntil is backup for one that is to be retained.
func backupUntil(ctx context.Context, v *vault.Vault, id string, disk []byte, parent string, rs iter.Seq2[vault.Range, error], until time.Time) (vault.Manifest, error) {
	var m vault.Manifest
	err := v.Write(ctx, "s-"+id, func(ctx context.Context, s *vault.Session) error {
		in := vault.ImageInput{Name: "disk0", Size: int64(len(disk)), Point: id, Read: bytes.NewReader(disk), Ranges: rs}
		if parent != "" {
			in.Parent = &vault.Parent{Backup: parent, Image: "disk0"}
		}
		im, err := s.WriteImage(ctx, in)
		if err != nil {
			return err
		}
		m, err = s.Commit(ctx, vault.Manifest{Backup: id, CreatedAt: time.Now(), Images: []vault.Image{im}, RetainedUntil: until})
		return err
	})
	return m, err
}

// restore reads one image of a backup whole.
func restore(ctx context.Context, v *vault.Vault, id string) ([]byte, error) {
	m, err := v.Manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	im, ok := m.Image("disk0")
	if !ok {
		return nil, fmt.Errorf("backup %s has no disk0", id)
	}
	r, err := v.OpenImage(ctx, im)
	if err != nil {
		return nil, err
	}
	out := newMemDisk(im.Size)
	return out.data, r.Restore(ctx, out, vault.RestoreOptions{})
}

func mustBackup(t testing.TB, v *vault.Vault, id string, disk []byte, parent string, rs iter.Seq2[vault.Range, error]) vault.Manifest {
	t.Helper()
	m, err := backup(t.Context(), v, id, disk, parent, rs)
	if err != nil {
		t.Fatalf("backup %s: %v", id, err)
	}
	return m
}

func mustRestore(t testing.TB, v *vault.Vault, id string, want []byte) {
	t.Helper()
	got, err := restore(t.Context(), v, id)
	if err != nil {
		t.Fatalf("restore %s: %v", id, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("restore %s: bytes differ first at %d", id, firstDiff(got, want))
	}
}

func firstDiff(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// memDisk is an io.WriterAt over zeros; concurrent writes do not overlap.
type memDisk struct{ data []byte }

func newMemDisk(size int64) *memDisk { return &memDisk{make([]byte, size)} }

func (d *memDisk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(d.data)) {
		return 0, fmt.Errorf("write outside the disk: %d at %d", len(p), off)
	}
	return copy(d.data[off:], p), nil
}

// randomDisk is a mixture of zeros, text, repetition and noise.
func randomDisk(r *rand.Rand, size int) []byte {
	disk := make([]byte, size)
	for off := 0; off < size; off += testChunk {
		fill(r, disk[off:min(off+testChunk, size)])
	}
	return disk
}

func fill(r *rand.Rand, p []byte) {
	switch r.IntN(4) {
	case 0:
		clear(p)
	case 1:
		copy(p, bytes.Repeat([]byte(fmt.Sprintf("line %d\n", r.IntN(8))), len(p)/7+1))
	case 2:
		for i := range p {
			p[i] = "aaaabcdefgh \n"[r.IntN(13)]
		}
	case 3:
		for i := range p {
			p[i] = byte(r.Uint32())
		}
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func clone(p []byte) []byte { return slices.Clone(p) }
