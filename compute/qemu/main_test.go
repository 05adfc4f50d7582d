package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/compute"
	"holdfast/disk"
)

// The watchdog is this program called again, as in the real one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "watchdog" {
		if err := RunWatchdog(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "die" {
		die(os.Args[2], os.Args[3], os.Args[4:])
	}
	os.Exit(m.Run())
}

// die is a service that is killed at a place of its Begin, or when it has begun, or
// at one of its Snapshot, after its children whose command line has a word of first.
func die(arg, place string, first []string) {
	var cfg Config
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		panic(err)
	}
	d, err := New(cfg)
	if err != nil {
		panic(err)
	}
	d.fault = func(at string) {
		if at == place {
			killChildren(first...)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if strings.HasPrefix(place, "qemu.layer.") {
		_, err = d.Snapshot(context.Background(), machine(mib).ID, "killed")
		panic(fmt.Sprint("survived: ", err))
	}
	_, err = d.Begin(context.Background(), compute.PointRequest{Machine: machine(mib).ID, Point: "01killed.1", Parents: []compute.Point{"01base.1"}, WriteBytesPerSecond: 64 * mib},
		func(h compute.Handle) error { return json.NewEncoder(os.Stdout).Encode(h) })
	if err == nil {
		d.at("begun")
	}
	panic(fmt.Sprint("survived: ", err))
}

// killChildren kills the children of this process whose command line has one of
// the words, and returns when they are gone.
func killChildren(words ...string) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic(err)
	}
	for _, path := range paths {
		stat, _ := os.ReadFile(path) // it may have ended
		argv, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		var pid, parent int
		var state string
		_, after, _ := strings.Cut(string(stat), ") ")
		_, _ = fmt.Sscan(string(stat), &pid)
		_, _ = fmt.Sscan(after, &state, &parent)
		p, alive := identify(pid)
		for _, w := range words {
			if parent == os.Getpid() && alive && bytes.Contains(argv, []byte("\x00"+w+"\x00")) {
				_ = p.kill(context.Background())
			}
		}
	}
}

func testConfig(t testing.TB) Config {
	t.Helper()
	for _, prog := range []string{"qemu-system-x86_64", "qemu-img", "qemu-storage-daemon"} {
		if _, err := exec.LookPath(prog); err != nil {
			t.Fatalf("%v: apt-get install --no-install-recommends qemu-system-x86 qemu-utils", err)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Root: dir + "/vm", Run: dir + "/run", Scratch: dir + "/scratch", Accelerator: "tcg",
		Watchdog: []string{self, "watchdog"},
		Logger:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func newDriver(t testing.TB, change ...func(*Config)) *Driver {
	t.Helper()
	cfg := testConfig(t)
	for _, f := range change {
		f(&cfg)
	}
	return open(t, cfg)
}

// open is a driver that leaves nothing behind, which is checked.
func open(t testing.TB, cfg Config) *Driver {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ids, err := d.Machines(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, id := range ids {
			if err := d.Delete(context.Background(), id); err != nil {
				t.Error(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		noTraces(t, cfg)
	})
	return d
}

// noTraces fails when a file or process of the driver is left.
func noTraces(t testing.TB, cfg Config) {
	t.Helper()
	base := filepath.Dir(cfg.Root)
	for _, root := range []string{cfg.Root, cfg.Run, cfg.Scratch} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if path != root {
				t.Errorf("left behind: %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	for _, path := range cmdlines {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || err != nil {
			continue // it ended
		}
		if bytes.Contains(b, []byte(base+"/")) {
			t.Errorf("left running: %q", b)
		}
	}
}

const (
	mib   = 1 << 20
	chunk = mib // as the vault reads
)

// machine is one without an operating system: it sits in its firmware, which
// is all that the block layer needs.
func machine(disks ...int64) compute.Machine {
	m := compute.Machine{
		ID: "01jd0000000000000000000000", Hostname: "guest", CPUs: 1, MemoryMiB: 64,
		NIC: compute.NIC{MAC: "52:54:00:12:34:56", Network: "user"},
	}
	for i, size := range disks {
		m.Disks = append(m.Disks, compute.Disk{Name: fmt.Sprintf("disk%d", i), SizeBytes: size})
	}
	return m
}

func define(t testing.TB, d *Driver, m compute.Machine, start bool) {
	t.Helper()
	if err := d.Define(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if start {
		if err := d.Start(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// guest runs a qemu-io command on a disk as its device does, that is through
// the filters of a point in time. It needs a conversation, as all do.
func guest(t testing.TB, d *Driver, id, disk, command string) {
	t.Helper()
	var said string
	err := converse(t, d, id, func(ctx context.Context, s *session) error {
		return s.Execute(ctx, "human-monitor-command", args{
			"command-line": fmt.Sprintf("qemu-io -d %s %q", diskDevice(disk), command),
		}, &said)
	})
	if err != nil || strings.Contains(said, "rror") {
		t.Fatalf("guest %s: %v %s", command, err, said)
	}
}

func converse(t testing.TB, d *Driver, id string, f func(context.Context, *session) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	unlock, err := d.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	p, alive, err := d.running(id)
	if err != nil || !alive {
		return errors.Join(err, fmt.Errorf("alive: %v", alive))
	}
	s, err := d.connect(ctx, id, p)
	if err != nil {
		return err
	}
	defer s.Close()
	return f(ctx, s)
}

func statusIs(t testing.TB, d *Driver, id string, want compute.PowerState) {
	t.Helper()
	st, err := d.Inspect(t.Context(), id)
	if err != nil || st.Power != want {
		t.Fatalf("Inspect = %+v, %v; want %s", st, err, want)
	}
}

func begin(t testing.TB, d *Driver, m compute.Machine, p compute.Point, parents ...compute.Point) compute.Handle {
	t.Helper()
	h, err := d.Begin(t.Context(), compute.PointRequest{Machine: m.ID, Point: p, Parents: parents},
		func(compute.Handle) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func end(t testing.TB, d *Driver, h compute.Handle, o compute.Outcome) {
	t.Helper()
	if err := d.End(t.Context(), h, o); err != nil {
		t.Fatal(err)
	}
}

// image is what a backup program has of a disk.
type image struct {
	data []byte
	read int64 // bytes read for the last round
}

// update brings an image up to the point in time, reading whole chunks as the
// vault does, and discards each.
func (im *image) update(t testing.TB, d *Driver, h compute.Handle, i int) {
	t.Helper()
	src, err := d.Open(t.Context(), h, h.Disks[i].Name)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if im.data == nil {
		im.data = bytes.Repeat([]byte{0xEE}, int(src.Size()))
	}
	im.read = 0
	need := map[int64]bool{}
	at := int64(0)
	var clean []disk.Extent
	for e, err := range src.Extents(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Offset != at || e.Length <= 0 {
			t.Fatalf("extent %+v at %d", e, at)
		}
		at = e.End()
		switch {
		case e.Clean:
			clean = append(clean, e)
		case e.Zero:
			clear(im.data[e.Offset:e.End()])
		default:
			for c := e.Offset / chunk; c*chunk < e.End(); c++ {
				need[c] = true
			}
		}
	}
	if at != src.Size() {
		t.Fatalf("extents end at %d of %d", at, src.Size())
	}
	for _, e := range clean {
		for c := (e.Offset + chunk - 1) / chunk; (c+1)*chunk <= e.End(); c++ {
			if err := src.Discard(t.Context(), c*chunk, chunk); err != nil {
				t.Fatal(err)
			}
		}
	}
	for c := range need {
		off := c * chunk
		b := im.data[off:min(off+chunk, src.Size())]
		if n, err := src.ReadAt(b, off); n != len(b) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("read %d of %d at %d: %v", n, len(b), off, err)
		}
		im.read += int64(len(b))
		if err := src.Discard(t.Context(), off, int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
}

// content is what the point in time has, read whole and without any map.
func content(t testing.TB, src disk.Source) []byte {
	t.Helper()
	b := make([]byte, src.Size())
	if n, err := src.ReadAt(b, 0); n != len(b) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("read %d of %d: %v", n, len(b), err)
	}
	return b
}
