package crash

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/test/service"
)

// stepped is a service that can be halted at every place of its work. Its VPS
// has no system: it sits in its firmware, which is all that its disk needs, and
// the test writes in its stead.
type stepped struct {
	*service.Service
	halts  halts
	owner  service.Account
	cellar string // the second place of the vaults
	kit    string // file with the owner's recovery kit

	vps     string
	content []byte // of its disk
	kept    []byte // of its snapshot
	writes  int
	grown   int // how often

	linux string // a VPS whose guest has an agent; "" until it is needed
}

const (
	disk0    = "disk0"
	blank    = 4 * mib // size of the VPS's disk
	copyName = "cellar"
)

func newStepped(t *testing.T) *stepped {
	t.Helper()
	h, cellar := halts(t.TempDir()), t.TempDir()
	w := &stepped{halts: h, cellar: cellar, Service: service.New(t, service.Binary(service.Build(t, "faults")),
		service.Env("HOLDFAST_FAULTS="+string(h)),
		service.Set("copies", fmt.Sprintf("[{name: %s, site: %q}]", copyName, cellar)), service.Set("vault.collect_after", "1s"), service.Set("restore.grace", "1s"))}
	w.owner = w.NewAccount(t, "owner")
	w.content = bytes.Repeat([]byte("what a disk begins with "), int(blank)/24+1)[:blank]
	raw := filepath.Join(w.Dir, "blank.raw")
	if err := os.WriteFile(raw, w.content, 0o600); err != nil {
		t.Fatal(err)
	}
	w.Run(t, "admin", "image", "import", "--name", "blank", "--disk", raw, "--format", "raw")
	w.kit = filepath.Join(t.TempDir(), "kit.txt")
	if err := os.WriteFile(w.kit, w.Run(t, "admin", "account", "kit", w.owner.ID), 0o600); err != nil {
		t.Fatal(err)
	}
	w.vps = w.NewVPS(t, w.owner.ID, "blank", "blank-01", true)
	return w
}

// power brings the VPS into a state, whatever it was in.
func (w *stepped) power(t *testing.T, vps, state string) {
	t.Helper()
	if state == "running" {
		w.Run(t, "admin", "vps", "start", vps, "--wait")
	} else {
		w.Run(t, "admin", "vps", "stop", vps, "--force", "--wait")
	}
	await(t, "the VPS to be "+state, func() bool { return w.state(t, vps).PowerState == state })
}

func (w *stepped) state(t *testing.T, vps string) service.Machine {
	t.Helper()
	for _, m := range w.Machines(t) {
		if m.ID == vps {
			return m
		}
	}
	return service.Machine{}
}

// write changes 64 KiB of the running VPS's disk, other bytes at another place
// each time.
func (w *stepped) write(t *testing.T) {
	t.Helper()
	w.writes++
	const size = 64 << 10
	at := w.writes * 3 * size % int(blank)
	pattern := byte(w.writes%255 + 1)
	m := w.Monitor(t, w.vps)
	defer m.Close() //nolint:errcheck // never fails
	var said string
	line := fmt.Sprintf(`qemu-io -d /machine/peripheral/v-%s/virtio-backend "write -f -P %d %d %d"`, disk0, pattern, at, size)
	if err := m.Execute(t.Context(), "human-monitor-command", map[string]any{"command-line": line}, &said); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(said, "rror") { // success is not told here
		t.Fatalf("the disk was not written: %s", said)
	}
	copy(w.content[at:at+size], bytes.Repeat([]byte{pattern}, size))
}

// holds fails the test unless a backup holds the VPS's bytes, read with nothing
// but the vault and the kit.
func (w *stepped) holds(t *testing.T, site, backup string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "disk.raw")
	w.Alone(t, "recover", "--vault", filepath.Join(site, w.owner.ID), "--kit", w.kit, "--backup", backup, "--disk", disk0, "--output", raw)
	w.same(t, "backup "+backup, raw)
}

func (w *stepped) same(t *testing.T, what, raw string) {
	t.Helper()
	got, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < len(w.content) || !bytes.Equal(got[:len(w.content)], w.content) {
		t.Errorf("%s does not hold the VPS's bytes", what)
	}
}

// diskHolds does the same with a disk itself, also of a VPS that runs.
func (w *stepped) diskHolds(t *testing.T, vps string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "disk.raw")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-img", "convert", "-U", "-O", "raw", w.DiskFile(vps, disk0), raw) // #nosec G204 -- our own file
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	w.same(t, "the disk of "+vps, raw)
}

// backUp makes a backup to its end and returns its id.
func (w *stepped) backUp(t *testing.T) string {
	t.Helper()
	var b service.BackupResult
	service.Answer{Body: w.Await(t, w.owner.Key, w.Backup(t, w.owner.Key, w.vps), patience).Result}.Decode(t, &b)
	return b.BackupID
}

// ended waits for the end of an operation that has no job of its own, of which
// the trace tells.
func (w *stepped) ended(t *testing.T, kind holdfast.Kind) {
	t.Helper()
	await(t, string(kind)+" to end", func() bool {
		return slices.Contains(w.halts.passed(t), string(kind)+".finished 1")
	})
}
