//go:build vm

// Package guest_test boots the test guest, to prove what tests with it rely on.
package guest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/internal/vmtest"
)

// TestGuest walks through the guest's life: boot, content that survives a pulled
// plug, a log that survives it as an exact prefix, and a graceful stop.
func TestGuest(t *testing.T) {
	image := vmtest.Guest(t)
	dir, err := os.MkdirTemp("/tmp", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { vmtest.NoStrays(t, dir) })
	var disks []*os.File
	for _, name := range []string{"disk1", "disk2"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		if err := f.Truncate(48 << 20); err != nil {
			t.Fatal(err)
		}
		disks = append(disks, f)
	}
	overlay := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.Root, filepath.Join(dir, "root"))
	if text, err := overlay.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}

	first := boot(t, dir, image, "vps-one")
	first.expect(t, "/hostname", "vps-one")
	first.expect(t, "/boots", "1")
	first.put(t, "/content", "old data")
	first.expect(t, "/log/start?dev=/dev/vdb&dev=/dev/vdc", "0")
	durable := first.waitCount(t, 300)
	first.pull(t)

	result, err := vmtest.VerifyLog(disks[0], disks[1])
	if err != nil {
		t.Fatal(err)
	}
	if result.Last[1] < durable {
		t.Fatalf("the guest said %d entries were durable, the disks hold %v", durable, result.Last)
	}

	second := boot(t, dir, image, "vps-two")
	second.expect(t, "/hostname", "vps-two")
	second.expect(t, "/boots", "2")
	second.expect(t, "/content", "old data")
	second.expect(t, "/log/start?dev=/dev/vdb&dev=/dev/vdc", strconv.FormatUint(result.Last[1], 10))
	durable = second.waitCount(t, durable+300)
	second.powerDown(t)
	after, err := vmtest.VerifyLog(disks[0], disks[1])
	if err != nil || after.Last[1] < durable || after.Log != result.Log {
		t.Fatalf("after a graceful stop: %+v, %v; want %d entries of log %d", after, err, durable, result.Log)
	}
}

// machine is a guest in a QEMU of its own.
type machine struct {
	url    string
	cmd    *exec.Cmd
	exited chan error
	qmp    string
}

func boot(t *testing.T, dir string, image vmtest.Image, name string) *machine {
	t.Helper()
	port := vmtest.FreePort(t)
	m := &machine{
		url:    fmt.Sprintf("http://127.0.0.1:%d", port),
		qmp:    filepath.Join(dir, name+".qmp"),
		exited: make(chan error, 1),
	}
	console := filepath.Join(dir, name+".console")
	m.cmd = exec.CommandContext(t.Context(), "qemu-system-x86_64",
		"-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", image.Kernel, "-initrd", image.Initrd, "-append", image.Cmdline+" hostname="+name,
		"-serial", "file:"+console, "-qmp", "unix:"+m.qmp+",server=on,wait=off",
		"-drive", "if=virtio,format=qcow2,file="+filepath.Join(dir, "root"),
		"-drive", "if=virtio,format=raw,file="+filepath.Join(dir, "disk1"),
		"-drive", "if=virtio,format=raw,file="+filepath.Join(dir, "disk2"),
		"-netdev", fmt.Sprintf("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:%d-:80", port),
		"-device", "virtio-net-pci,netdev=n0,romfile=")
	m.cmd.Stderr = os.Stderr
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { m.exited <- m.cmd.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := vmtest.WaitHTTP(ctx, m.url+"/hostname"); err != nil {
		text, _ := os.ReadFile(console)
		t.Fatalf("%v\nconsole:\n%s", err, text)
	}
	text, err := os.ReadFile(console)
	if err != nil || !strings.Contains(string(text), vmtest.Ready) {
		t.Fatalf("no %s on the console (%v):\n%s", vmtest.Ready, err, text)
	}
	return m
}

func (m *machine) expect(t *testing.T, path, want string) {
	t.Helper()
	got, err := vmtest.Get(t.Context(), m.url+path)
	if err != nil || strings.TrimSpace(got) != want {
		t.Fatalf("%s: got %q, %v; want %q", path, got, err, want)
	}
}

func (m *machine) put(t *testing.T, path, body string) {
	t.Helper()
	if _, err := vmtest.Put(t.Context(), m.url+path, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

// waitCount waits until the log has at least n entries.
func (m *machine) waitCount(t *testing.T, n uint64) uint64 {
	t.Helper()
	for {
		text, err := vmtest.Get(t.Context(), m.url+"/log/count")
		if err != nil {
			t.Fatal(err)
		}
		count, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if count >= n {
			return count
		}
	}
}

// pull ends the guest as a power cut does.
func (m *machine) pull(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-m.exited; err == nil {
		t.Fatal("QEMU ended by itself before its plug was pulled")
	}
}

// powerDown presses the power button, and expects the guest to end by itself.
func (m *machine) powerDown(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("unix", m.qmp)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, command := range []string{"qmp_capabilities", "system_powerdown"} {
		if err := json.NewEncoder(conn).Encode(map[string]string{"execute": command}); err != nil {
			t.Fatal(err)
		}
	}
	go func() { // read the greeting and the events until QEMU hangs up
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			continue
		}
	}()
	select {
	case err := <-m.exited:
		if err != nil {
			t.Fatalf("QEMU ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the guest did not power off")
	}
}
