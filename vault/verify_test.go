package vault_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"holdfast/vault"
	"holdfast/vault/blob/mem"
)

// counted counts what is read of a disk.
type counted struct {
	bytes.Reader
	read atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.read.Add(int64(len(p)))
	return c.Reader.ReadAt(p, off)
}

func TestVerify(t *testing.T) {
	v, _ := initVault(t, mem.New())
	disk := randomDisk(newRand(3), 3<<20+1234)
	clear(disk[1<<20 : 2<<20+500])
	m := mustBackup(t, v, "b1", disk, "", whole(disk))
	r, err := v.OpenImage(t.Context(), m.Images[0])
	if err != nil {
		t.Fatal(err)
	}
	verify := func(disk []byte, o vault.VerifyOptions) (int64, error) {
		c := &counted{Reader: *bytes.NewReader(disk)}
		err := r.Verify(t.Context(), c, o)
		return c.read.Load(), err
	}
	var last, all int64
	read, err := verify(disk, vault.VerifyOptions{Progress: func(done, total int64) { last, all = done, total }})
	if err != nil || read != int64(len(disk)) || all-last >= testChunk || last > all || last == 0 {
		t.Errorf("the same disk: %v; %d of %d bytes read, progress %d of %d", err, read, len(disk), last, all)
	}
	if _, err := verify(append(clone(disk), 1), vault.VerifyOptions{}); err != nil {
		t.Errorf("a larger disk: %v", err)
	}
	if _, err := verify(disk[:len(disk)-1], vault.VerifyOptions{}); !errors.Is(err, vault.ErrDiffers) {
		t.Errorf("a smaller disk: %v", err)
	}
	for _, off := range []int{0, 700_000, 1<<20 + 100_000, 2<<20 + 499, len(disk) - 1} {
		wrong := clone(disk)
		wrong[off] ^= 1
		if _, err := verify(wrong, vault.VerifyOptions{}); !errors.Is(err, vault.ErrDiffers) {
			t.Errorf("a disk with another bit at %d: %v", off, err)
		}
	}
	known := func(off, n int64) bool { return off >= 1<<20 && off+n <= 2<<20 }
	read, err = verify(disk, vault.VerifyOptions{Zero: known})
	if want := int64(len(disk)) - 1<<20; err != nil || read > want+testChunk || read < want-testChunk {
		t.Errorf("with known zeros: %v, %d bytes read of %d", err, read, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Verify(ctx, bytes.NewReader(disk), vault.VerifyOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
