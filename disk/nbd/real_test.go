package nbd

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// export serves a new qcow2 image of size bytes by qemu-nbd.
func export(t testing.TB, size string, arg ...string) string {
	t.Helper()
	for _, prog := range []string{"qemu-nbd", "qemu-img"} {
		if _, err := exec.LookPath(prog); err != nil {
			t.Fatalf("%v: apt-get install --no-install-recommends qemu-utils", err)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	image, socket := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "nbd")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", image, size).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	argv := append([]string{"--persistent", "--shared=8", "-f", "qcow2", "--discard=unmap", "-k", socket, "-x", "disk0"}, arg...)
	cmd := exec.Command("qemu-nbd", append(argv, image)...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		if time.Now().After(deadline) {
			t.Fatal("qemu-nbd does not listen")
		}
		time.Sleep(2 * time.Millisecond) // it says nothing when it does
	}
}

func dial(t testing.TB, socket string, contexts ...string) *Conn {
	t.Helper()
	n, err := Dial(t.Context(), socket, Options{Export: "disk0", Contexts: contexts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestRealServer(t *testing.T) {
	socket := export(t, "33554944")
	n := dial(t, socket, BaseAllocation)
	if n.Size() != 33554944 || n.ReadOnly() || !n.CanTrim() || !n.CanZero() {
		t.Fatalf("size %d, flags %#x", n.Size(), n.info.flags)
	}
	want := make([]byte, n.Size())
	random := rand.NewChaCha8([32]byte{})
	write := func(off, length int) {
		t.Helper()
		_, _ = random.Read(want[off : off+length]) // never fails
		if k, err := n.WriteAt(want[off:off+length], int64(off)); k != length || err != nil {
			t.Fatalf("write %d, %v", k, err)
		}
	}
	write(0, 12<<20) // more than one request
	write(20<<20+17, 100_001)
	write(len(want)-700, 700)
	if err := n.WriteZeroes(t.Context(), 1<<20, 1<<20); err != nil {
		t.Fatal(err)
	}
	clear(want[1<<20 : 2<<20])
	if err := n.Trim(t.Context(), 4<<20, 1<<20); err != nil {
		t.Fatal(err)
	}
	clear(want[4<<20 : 5<<20]) // qcow2 makes that zeros
	if err := n.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := dial(t, socket, BaseAllocation)
	var group sync.WaitGroup
	for _, c := range []*Conn{n, second} {
		for worker := range 8 {
			group.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(worker), 1))
				for range 40 {
					off := rng.IntN(len(want) - 1)
					p := make([]byte, rng.IntN(min(1<<20, len(want)-off)))
					if k, err := c.ReadAt(p, int64(off)); k != len(p) || err != nil || !bytes.Equal(p, want[off:off+k]) {
						t.Errorf("read %d of %d at %d: %v, or wrong bytes", k, len(p), off, err)
						return
					}
				}
			})
		}
	}
	group.Wait()
	checkStatus(t, second, want)
}

func checkStatus(t *testing.T, n *Conn, want []byte) {
	t.Helper()
	zeros := int64(0)
	for off := int64(0); off < n.Size(); {
		list, err := n.BlockStatus(t.Context(), BaseAllocation, off, n.Size()-off)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Offset != off {
				t.Fatalf("extent %+v at %d", e, off)
			}
			off += e.Length
			if e.Flags&StateZero == 0 {
				continue
			}
			zeros += e.Length
			if len(bytes.Trim(want[e.Offset:off], "\x00")) > 0 {
				t.Errorf("extent %+v is not zeros", e)
			}
		}
	}
	if zeros < 18<<20 {
		t.Errorf("%d bytes of zeros were found", zeros)
	}
}

func TestReadOnlyExport(t *testing.T) {
	n := dial(t, export(t, "1M", "--read-only"))
	if !n.ReadOnly() || n.CanTrim() || n.CanZero() {
		t.Errorf("flags %#x", n.info.flags)
	}
	if _, err := n.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a read-only export was written")
	}
	if err := n.Trim(t.Context(), 0, 512); err == nil {
		t.Error("a read-only export was trimmed")
	}
}

func TestMissingContext(t *testing.T) {
	socket := export(t, "1M")
	if n, err := Dial(t.Context(), socket, Options{Export: "disk0", Contexts: []string{DirtyBitmap("none")}}); err == nil {
		_ = n.Close()
		t.Error("an export without the bitmap was accepted")
	}
	if n, err := Dial(t.Context(), socket, Options{Export: "disk1"}); err == nil {
		_ = n.Close()
		t.Error("another export was opened")
	}
}

func TestCloseEndsRequests(t *testing.T) {
	n := scripted(t)
	failed := make(chan error, 1)
	go func() {
		_, err := n.ReadAt(make([]byte, 10), 0)
		failed <- err
	}()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("a request outlived the connection")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestContextLeavesARequest(t *testing.T) {
	n := scripted(t, new(stream), new(stream).chunk(chunkDone, chunkNone, 2).chunk(chunkDone, chunkNone, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	// The connection goes on, and the late answer hurts nobody.
	if err := n.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}
