package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/compute"
)

// A customer uploads images, and a guest writes what it likes to its disks:
// neither may make the host open another file.

func qemuImg(t *testing.T, arg ...string) {
	t.Helper()
	if out, err := exec.Command("qemu-img", arg...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v: %s", arg, err, out)
	}
}

func defineImage(t *testing.T, d *Driver, image, format string) error {
	t.Helper()
	m := machine(2 * mib)
	m.Disks[0].Image, m.Disks[0].ImageFormat = image, format
	return d.Define(t.Context(), m)
}

func TestHostileImages(t *testing.T) {
	d := newDriver(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("the host's secret "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", path("backing"))
	qemuImg(t, "create", "-q", "-f", "qcow2", "-o", "data_file="+path("outside"), path("datafile"), "1M")
	qemuImg(t, "create", "-q", "-f", "qcow2", path("large"), "3M")
	qemuImg(t, "create", "-q", "-f", "qcow2", path("good"), "1M")
	good, err := os.ReadFile(path("good"))
	if err != nil {
		t.Fatal(err)
	}
	patched := func(name string, off int, v any) {
		t.Helper()
		b := bytes.Clone(good)
		if _, err := binary.Encode(b[off:], binary.BigEndian, v); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	patched("feature", 72, uint64(1<<40))
	patched("encrypted", 32, uint32(2))
	patched("l1", 36, uint32(1<<31))
	patched("huge", 24, uint64(1<<62))
	patched("version", 4, uint32(9))
	if err := os.WriteFile(path("short"), good[:50], 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"backing": errHostileImage.Error(), "datafile": errHostileImage.Error(), "large": "the disk",
		"feature": "features", "encrypted": "encrypted", "l1": "bounds", "huge": "bounds",
		"version": "not a qcow2", "short": "header", "missing": "no such file", ".": "not a regular file",
	} {
		if err := defineImage(t, d, path(name), "qcow2"); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%s: got %v, want %q", name, err, want)
		}
		noTraces(t, d.cfg)
	}
	for _, c := range [][2]string{{path("good"), "vmdk"}, {path("good"), ""}, {"relative", "raw"}, {"nbd://127.0.0.1/", "raw"}, {"json:{}", "raw"}} {
		if err := defineImage(t, d, c[0], c[1]); err == nil {
			t.Errorf("image %q of format %q was accepted", c[0], c[1])
		}
	}
	if err := defineImage(t, d, path("good"), "qcow2"); err != nil {
		t.Error(err)
	}
}

// TestRawStaysRaw: a raw image that looks like qcow2 is raw to everyone.
func TestRawStaysRaw(t *testing.T) {
	d := newDriver(t)
	dir := t.TempDir()
	secret, image := filepath.Join(dir, "secret"), filepath.Join(dir, "image")
	if err := os.WriteFile(secret, make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", image)
	if err := defineImage(t, d, image, "raw"); err != nil {
		t.Fatal(err)
	}
	m := machine(2 * mib)
	h := begin(t, d, m, "01raw.1")
	src, err := d.Open(t.Context(), h, "disk0")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, src); !bytes.Equal(got[:len(want)], want) {
		t.Error("the disk does not hold the image's bytes")
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	end(t, d, h, compute.Abandoned)
}

// TestFullDisk: what qemu-img says of a full disk is an error callers know. A
// program in its place says it, for a test cannot fill a file system.
func TestFullDisk(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "qemu-img")
	script := "#!/bin/sh\necho 'qemu-img: disk.qcow2: error while converting: No space left on device' >&2\nexit 1\n"
	if err := os.WriteFile(fake, []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	d := newDriver(t, func(c *Config) { c.Img = fake })
	if err := d.Define(t.Context(), machine(mib)); !errors.Is(err, compute.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	noTraces(t, d.cfg)
}
