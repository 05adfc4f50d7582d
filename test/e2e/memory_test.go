package e2e

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"holdfast/test/service"
)

const (
	gib = 1 << 10 * mib
	// memory is the most that the service may take during a backup.
	memory = 256 * mib
)

// dataSize is how large the full disk is: 8 GiB is what was promised, and what
// `make test-full` takes, with some 27 GB of disk for image, VPS, vault and
// restored VM; each change is tested with 2 GiB.
func dataSize() int64 {
	if os.Getenv("HOLDFAST_FULL") != "" {
		return 8 * gib
	}
	return 2 * gib
}

// TestMemory: neither much data nor a huge empty disk makes the service large.
func TestMemory(t *testing.T) {
	s := service.New(t)
	owner := s.NewAccount(t, "owner")
	t.Run("data", func(t *testing.T) { memoryOfData(t, s, owner) })
	restart(t, s)
	t.Run("sparse", func(t *testing.T) { memoryOfSparse(t, s, owner) })
	s.Run(t, "vault", "check")
}

func memoryOfData(t *testing.T, s *service.Service, owner service.Account) {
	size := dataSize()
	vps := s.NewVPS(t, owner.ID, rawImage(t, s, "data", size), "data-01", false)
	begun := time.Now()
	b := backup(t, s, owner.Key, vps)
	peak(t, s, fmt.Sprintf("backup of %d GiB in %s, %d MiB stored", size/gib, time.Since(begun), b.TransferredBytes/mib))
	if b.ChangedBytes != size || b.TransferredBytes < size/8 || b.TransferredBytes > size*3/4 {
		t.Errorf("this is not the data that was meant: %+v", b)
	}
	restart(t, s)
	begun = time.Now()
	vm := restore(t, s, owner.Key, vps, b.BackupID)
	peak(t, s, fmt.Sprintf("restore of %d GiB in %s", size/gib, time.Since(begun)))
	s.Run(t, "admin", "vps", "delete", vm, "--wait")
}

// memoryOfSparse backs up a disk of 2 TiB with a few MiB scattered over it.
func memoryOfSparse(t *testing.T, s *service.Service, owner service.Account) {
	const size, pieces = 2 << 10 * gib, int64(64)
	vps := s.NewVPS(t, owner.ID, rawImage(t, s, "small", 4*mib), "sparse-01", false, size)
	args := []string{"-f", "qcow2"}
	for n := range pieces {
		args = append(args, "-c", fmt.Sprintf("write -P %d %d 64k", n+1, n*(size/pieces)))
	}
	if out, err := exec.Command("qemu-io", append(args, s.DiskFile(vps, "disk1"))...).CombinedOutput(); err != nil { // #nosec G204 -- our own words
		t.Fatalf("qemu-io: %v\n%s", err, out)
	}
	begun := time.Now()
	b := backup(t, s, owner.Key, vps)
	peak(t, s, fmt.Sprintf("backup of a sparse disk of 2 TiB in %s, %d MiB changed", time.Since(begun), b.ChangedBytes/mib))
	if least := pieces*64<<10 + 4*mib; b.ChangedBytes < least {
		t.Errorf("the backup saw too little: %+v", b)
	}
}

func restart(t *testing.T, s *service.Service) {
	t.Helper()
	s.Stop(t)
	s.Start(t)
}

func peak(t *testing.T, s *service.Service, what string) {
	t.Helper()
	got := s.PeakMemory(t)
	if t.Logf("%s: %d MiB of memory at most", what, got/mib); got >= memory {
		t.Errorf("%s took %d MiB of memory", what, got/mib)
	}
}

// rawImage imports a raw image full of data that compresses to about a third,
// as that of servers does, and of which no two chunks are equal.
func rawImage(t *testing.T, s *service.Service, name string, size int64) string {
	t.Helper()
	path := filepath.Join(s.Dir, name+".raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewPCG(1, uint64(size)) //nolint:gosec // data that can be made again
	block := make([]byte, mib)
	for off := int64(0); off < size; off += mib {
		for page := 0; page < len(block); page += 4 << 10 {
			for i := page; i < page+1400; i += 8 {
				binary.LittleEndian.PutUint64(block[i:], random.Uint64())
			}
			copy(block[page+1400:page+4<<10], "a line of a log that says nothing new; ")
		}
		if _, err := f.Write(block[:min(mib, size-off)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.Run(t, "admin", "image", "import", "--name", name, "--disk", path, "--format", "raw")
	return name
}
