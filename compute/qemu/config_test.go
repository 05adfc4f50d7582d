package qemu

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"holdfast/compute"
)

func TestConfigRefusals(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"accelerator":                 func(c *Config) { c.Accelerator = "" },
		"it has to be tcg or kvm":     func(c *Config) { c.Accelerator = "kvm:tcg" },
		"root directory":              func(c *Config) { c.Root = "relative" },
		"choose one shorter by 5":     func(c *Config) { c.Run = "/" + strings.Repeat("r", maxSocketPath-53+4) },
		"no watchdog":                 func(c *Config) { c.Watchdog = nil },
		"apt-get install qemu-system": func(c *Config) { c.QEMU = "no-such-qemu" },
		"out of range":                func(c *Config) { c.ConsoleBytes = 10 },
	} {
		cfg := testConfig(t)
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Hostnames come from customers through the API, ids through it from the
// database, disks and networks from operators.
func TestMachineRefusals(t *testing.T) {
	d := newDriver(t)
	for name, change := range map[string]func(*compute.Machine){
		"id elsewhere":        func(m *compute.Machine) { m.ID = "../etc" },
		"id empty":            func(m *compute.Machine) { m.ID = "" },
		"id hidden":           func(m *compute.Machine) { m.ID = ".new-x" },
		"id too long":         func(m *compute.Machine) { m.ID = strings.Repeat("x", 65) },
		"hostname with space": func(m *compute.Machine) { m.Hostname = "a init=/bin/sh" },
		"hostname with comma": func(m *compute.Machine) { m.Hostname = "a,serial=x" },
		"hostname seeds":      func(m *compute.Machine) { m.Hostname = "a;s=http://evil/" },
		"hostname empty":      func(m *compute.Machine) { m.Hostname = "" },
		"no CPU":              func(m *compute.Machine) { m.CPUs = 0 },
		"no memory":           func(m *compute.Machine) { m.MemoryMiB = 0 },
		"no disk":             func(m *compute.Machine) { m.Disks = nil },
		"disk twice":          func(m *compute.Machine) { m.Disks = append(m.Disks, m.Disks[0]) },
		"disk name":           func(m *compute.Machine) { m.Disks[0].Name = "a,readonly" },
		"disk of odd size":    func(m *compute.Machine) { m.Disks[0].SizeBytes = 1000 },
		"disk of no size":     func(m *compute.Machine) { m.Disks[0].SizeBytes = 0 },
		"initrd alone":        func(m *compute.Machine) { m.Initrd = "/x" },
		"kernel relative":     func(m *compute.Machine) { m.Kernel = "x" },
		"MAC":                 func(m *compute.Machine) { m.NIC.MAC = "52:54:00:12:34:56,addr=1" },
		"MAC of a group":      func(m *compute.Machine) { m.NIC.MAC = "53:54:00:12:34:56" },
		"network":             func(m *compute.Machine) { m.NIC.Network = "tap" },
		"port":                func(m *compute.Machine) { m.NIC.Forwards = []compute.Forward{{HostPort: 65536, GuestPort: 1}} },
	} {
		m := machine(mib)
		change(&m)
		if err := d.Define(t.Context(), m); err == nil {
			t.Errorf("%s was accepted", name)
		}
		noTraces(t, d.cfg)
	}
}

func TestPointRefusals(t *testing.T) {
	d := newDriver(t)
	m := machine(mib)
	define(t, d, m, false)
	for _, p := range []compute.Point{"", "a/b", "UPPER", compute.Point(strings.Repeat("x", 65)), "a:b", ".."} {
		if _, err := d.Begin(t.Context(), compute.PointRequest{Machine: m.ID, Point: p}, func(compute.Handle) error { return nil }); err == nil {
			t.Errorf("point %q was accepted", p)
		}
	}
	good := compute.Handle{Version: handleVersion, Driver: driverName, Machine: m.ID, Point: "01a.1"}
	for name, change := range map[string]func(*compute.Handle){
		"version": func(h *compute.Handle) { h.Version++ },
		"driver":  func(h *compute.Handle) { h.Driver = "libvirt" },
		"machine": func(h *compute.Handle) { h.Machine = "../x" },
		"point":   func(h *compute.Handle) { h.Point = "../x" },
		"state":   func(h *compute.Handle) { h.State = []byte("[") },
	} {
		h := good
		change(&h)
		if err := d.End(t.Context(), h, compute.Abandoned); err == nil {
			t.Errorf("End took a handle of another %s", name)
		}
	}
	if err := d.End(t.Context(), good, compute.Abandoned); err != nil {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	d := newDriver(t)
	m := machine(mib, mib)
	m.NIC.Forwards = []compute.Forward{{HostPort: 2222, GuestPort: 22}}
	has := func(want ...string) {
		t.Helper()
		argv := d.argv(m, m.Disks, nil)
		for i := range argv {
			if slices.Equal(argv[i:min(len(argv), i+len(want))], want) {
				return
			}
		}
		t.Errorf("%q is not in %q", want, argv)
	}
	has("-machine", "q35,accel=tcg")
	has("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	has("-netdev", "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22")
	has("-smbios", "type=1,serial=ds=nocloud;h=guest;i="+m.ID)
	m.Kernel, m.Initrd, m.Cmdline = "/boot/kernel", "/boot/initrd", "root=/dev/vda"
	has("-kernel", "/boot/kernel", "-append", "root=/dev/vda console=ttyS0 hostname=guest systemd.hostname=guest", "-initrd", "/boot/initrd")
	m.Cmdline = "console=hvc0"
	has("-append", "console=hvc0 hostname=guest systemd.hostname=guest")
	if got := escape("/a,b"); got != "/a,,b" {
		t.Error(got)
	}
}

func TestConsoleIsBounded(t *testing.T) {
	d := newDriver(t, func(c *Config) { c.ConsoleBytes = 8192 })
	path := filepath.Join(t.TempDir(), consoleFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := strings.Repeat("x", 99) + "\n"
	for range 3 {
		if _, err := f.WriteString(strings.Repeat(line, 10_000)); err != nil {
			t.Fatal(err)
		}
		if err := d.trim(path); err != nil {
			t.Fatal(err)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil || st.Blocks*512 > 16384 {
			t.Errorf("%d bytes are kept (%v)", st.Blocks*512, err)
		}
		if b, err := readTail(path, 100); err != nil || string(b) != line {
			t.Errorf("the end is %q, %v", b, err)
		}
	}
	former := restartAt
	restartAt = mib
	defer func() { restartAt = former }()
	if err := d.trim(path); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("anew\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := readTail(path, 100); err != nil || string(b) != "anew\n" {
		t.Errorf("after beginning anew: %q, %v", b, err)
	}
	if err := os.Symlink("/etc/passwd", path+"2"); err != nil {
		t.Fatal(err)
	}
	if _, err := readTail(path+"2", 100); err == nil {
		t.Error("a link was followed")
	}
}
