package qemu

import (
	"fmt"
	"strings"

	"holdfast/compute"
)

const sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// argv is the machine's QEMU command line; defined are the disks that it was
// defined with.
func (d *Driver) argv(m compute.Machine, defined []compute.Disk, l layers) []string {
	at := slotsOf(defined, m.Disks)
	a := []string{
		d.cfg.QEMU, "-name", "guest=" + m.ID, "-nodefaults", "-no-user-config", "-display", "none",
		"-sandbox", sandbox,
		"-machine", "q35,accel=" + d.cfg.Accelerator, "-cpu", "max",
		"-smp", fmt.Sprint(m.CPUs), "-m", fmt.Sprintf("%dM", m.MemoryMiB),
		"-rtc", "base=utc", "-action", "shutdown=poweroff", "-boot", "strict=on", "-trace", traceShutdown,
		// Two monitors: a monitor serves one client at a time, and the
		// watchdog has to get through while the other one is in use.
		"-chardev", d.serverChardev(m.ID, socketQMP), "-mon", "chardev=" + socketQMP + ",mode=control",
		"-chardev", d.serverChardev(m.ID, socketWatchdog), "-mon", "chardev=" + socketWatchdog + ",mode=control",
		"-chardev", "file,id=console,append=on,path=" + escape(d.file(m.ID, consoleFile)), "-serial", "chardev:console",
		"-device", fmt.Sprintf("virtio-rng-pci,addr=%#x", at.rng),
	}
	for i, dk := range m.Disks {
		dev := fmt.Sprintf("virtio-blk-pci,id=v-%s,drive=%s,serial=%s,addr=%#x", dk.Name, l.top(dk.Name), dk.Name, at.disks[i])
		if i == 0 {
			dev += ",bootindex=1"
		}
		for _, node := range d.stack(m.ID, current, dk.Name, l, false) {
			a = append(a, "-blockdev", blockdevJSON(node))
		}
		a = append(a, "-device", dev)
	}
	netdev := []string{"user,id=n0,restrict=on"}
	for _, f := range m.NIC.Forwards {
		netdev = append(netdev, fmt.Sprintf("hostfwd=tcp:127.0.0.1:%d-:%d", f.HostPort, f.GuestPort))
	}
	a = append(a, "-netdev", strings.Join(netdev, ","), "-device", fmt.Sprintf("virtio-net-pci,netdev=n0,romfile=,mac=%s,addr=%#x", m.NIC.MAC, at.nic))
	a = append(a, "-device", fmt.Sprintf("virtio-serial-pci,addr=%#x", at.serial), "-chardev", d.serverChardev(m.ID, socketAgent),
		"-device", "virtserialport,chardev="+socketAgent+",name="+agentChannel)
	if m.Kernel == "" {
		// cloud-init's NoCloud reads its seed from the serial number.
		return append(a, "-smbios", fmt.Sprintf("type=1,serial=ds=nocloud;h=%s;i=%s", m.Hostname, m.ID))
	}
	a = append(a, "-kernel", m.Kernel, "-append", cmdline(m))
	if m.Initrd != "" {
		a = append(a, "-initrd", m.Initrd)
	}
	return a
}

func (d *Driver) serverChardev(id, name string) string {
	return fmt.Sprintf("socket,id=%s,path=%s,server=on,wait=off", name, escape(d.socket(id, name)))
}

// escape makes a path safe in QEMU's comma-separated options.
func escape(path string) string { return strings.ReplaceAll(path, ",", ",,") }

func cmdline(m compute.Machine) string {
	s := m.Cmdline
	if !strings.Contains(s, "console=") {
		s += " console=ttyS0"
	}
	return strings.TrimSpace(fmt.Sprintf("%s hostname=%s systemd.hostname=%s", s, m.Hostname, m.Hostname))
}

// daemonArgv is the command line of a storage daemon that opens disks of a
// machine for writing.
func (d *Driver) daemonArgv(id, socket string, disks []compute.Disk, l layers) []string {
	a := []string{
		d.cfg.StorageDaemon,
		"--chardev", fmt.Sprintf("socket,id=qmp,path=%s,server=on,wait=off", escape(socket)),
		"--monitor", "chardev=qmp,mode=control",
	}
	for _, dk := range disks {
		for _, node := range d.stack(id, current, dk.Name, l, false) {
			a = append(a, "--blockdev", blockdevJSON(node))
		}
	}
	return a
}
