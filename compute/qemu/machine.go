package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"holdfast/compute"
)

const definition = "machine.json"

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// validate refuses what could reach a hypervisor's command line as something
// else than it is: names and addresses come from customers through the API.
func validate(m compute.Machine) error {
	bad := func(format string, a ...any) error { return fmt.Errorf("qemu: machine: "+format, a...) }
	if err := checkID(m.ID); err != nil {
		return err
	}
	if !hostName.MatchString(m.Hostname) {
		return bad("hostname %.300q", m.Hostname)
	}
	if m.CPUs < 1 || m.CPUs > 255 || m.MemoryMiB < 16 || m.MemoryMiB > 16<<20 {
		return bad("%d CPUs, %d MiB of memory", m.CPUs, m.MemoryMiB)
	}
	if m.Kernel == "" && (m.Initrd != "" || m.Cmdline != "") {
		return bad("initrd or command line without a kernel")
	}
	for _, p := range []string{m.Kernel, m.Initrd} {
		if p != "" && !filepath.IsAbs(p) {
			return bad("path %q is not absolute", p)
		}
	}
	if len(m.Cmdline) > 2048 || strings.ContainsAny(m.Cmdline, "\x00\n") {
		return bad("kernel command line")
	}
	return errors.Join(validateDisks(m.Disks), validateNIC(m.NIC))
}

func validateDisks(disks []compute.Disk) error {
	if len(disks) < 1 || len(disks) > 16 {
		return fmt.Errorf("qemu: machine: %d disks", len(disks))
	}
	seen := map[string]bool{}
	for _, dk := range disks {
		if !diskName.MatchString(dk.Name) || seen[dk.Name] {
			return fmt.Errorf("qemu: machine: disk name %.20q", dk.Name)
		}
		seen[dk.Name] = true
		if dk.SizeBytes < 512 || dk.SizeBytes%512 != 0 || dk.SizeBytes > 1<<50 {
			return fmt.Errorf("qemu: machine: %s of %d bytes", dk.Name, dk.SizeBytes)
		}
		if (dk.Image == "") != (dk.ImageFormat == "") || dk.Image != "" && !filepath.IsAbs(dk.Image) {
			return fmt.Errorf("qemu: machine: %s: image %q of format %q", dk.Name, dk.Image, dk.ImageFormat)
		}
	}
	return nil
}

func validateNIC(n compute.NIC) error {
	if n.Network != "user" {
		return fmt.Errorf("qemu: machine: network %.40q", n.Network)
	}
	if mac, err := net.ParseMAC(n.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return fmt.Errorf("qemu: machine: MAC address %.40q", n.MAC)
	}
	for _, f := range n.Forwards {
		if f.HostPort < 1 || f.HostPort > 65535 || f.GuestPort < 1 || f.GuestPort > 65535 {
			return fmt.Errorf("qemu: machine: forward of %d to %d", f.HostPort, f.GuestPort)
		}
	}
	return nil
}

// load reads a machine as it is, with the disks of the generation in force:
// ErrNotFound for one that is not defined. Who will use its disks reads it with
// the lock held, see enter.
func (d *Driver) load(id string) (compute.Machine, error) {
	m, err := d.defined(id)
	if err == nil {
		m.Disks, err = d.disks(id, current, m.Disks)
	}
	return m, err
}

// enter takes the lock and reads the machine.
func (d *Driver) enter(ctx context.Context, id string) (m compute.Machine, unlock func(), err error) {
	if _, err := d.defined(id); err != nil {
		return m, nil, err
	}
	if unlock, err = d.lock(ctx, id); err != nil {
		return m, nil, err
	}
	if m, err = d.load(id); err != nil {
		unlock()
		return m, nil, err
	}
	return m, unlock, nil
}

// defined reads what a machine was defined as.
func (d *Driver) defined(id string) (compute.Machine, error) {
	var m compute.Machine
	if err := checkID(id); err != nil {
		return m, errors.Join(compute.ErrNotFound, err)
	}
	found, err := readJSON(d.file(id, definition), &m)
	if err == nil && !found {
		err = fmt.Errorf("qemu: machine %s: %w", id, compute.ErrNotFound)
	}
	return m, err
}

// Define creates the machine and its disks in a directory of another name that
// is renamed when it is whole. Defining the same machine again succeeds; a
// different one of the same id is ErrState.
func (d *Driver) Define(ctx context.Context, m compute.Machine) error {
	if err := validate(m); err != nil {
		return err
	}
	if err := d.checkSockets(m.ID); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, m.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if have, err := d.defined(m.ID); err == nil {
		if reflect.DeepEqual(have, m) {
			return nil
		}
		return fmt.Errorf("qemu: machine %s is defined, and differently: %w", m.ID, compute.ErrState)
	} else if !errors.Is(err, compute.ErrNotFound) {
		return err
	}
	building := filepath.Join(d.cfg.Root, ".new-"+m.ID)
	err = os.RemoveAll(building) // of a call that was cut off
	if err == nil {
		err = d.build(ctx, building, m)
	}
	if err == nil {
		err = os.Rename(building, d.dir(m.ID))
	}
	if err == nil {
		err = syncDir(d.cfg.Root)
	}
	if err != nil {
		return noSpace(errors.Join(fmt.Errorf("qemu: defining %s: %w", m.ID, err), os.RemoveAll(building)))
	}
	return nil
}

func (d *Driver) build(ctx context.Context, dir string, m compute.Machine) error {
	gen := filepath.Join(dir, generationPrefix+compute.FirstGeneration)
	if err := passable(gen); err != nil {
		return err
	}
	for _, dk := range m.Disks {
		path := filepath.Join(gen, dk.Name+".qcow2")
		if err := d.createDisk(ctx, path, dk); err != nil {
			return err
		}
		if err := d.give(path, 0o600); err != nil {
			return err
		}
	}
	if err := os.Symlink(filepath.Base(gen), filepath.Join(dir, current)); err != nil {
		return err
	}
	if err := syncDir(gen); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, definition), m)
}

// Machines lists the ids of the machines defined here, in no order.
func (d *Driver) Machines(ctx context.Context) ([]string, error) {
	entries, err := os.ReadDir(d.cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("qemu: %w", err)
	}
	ids := []string{}
	for _, e := range entries {
		if !e.IsDir() || checkID(e.Name()) != nil {
			continue
		}
		if _, err := os.Stat(d.file(e.Name(), definition)); err == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, ctx.Err()
}

// Delete ends the machine and all that serves its disks by force, and removes
// all of it. It is idempotent.
func (d *Driver) Delete(ctx context.Context, id string) error {
	unlock, err := d.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.killAll(ctx, id); err != nil {
		return err
	}
	if err := d.freeWrites(ctx, nil, compute.Machine{ID: id}); err != nil {
		return err
	}
	// Renamed first, so that a cut leaves no machine without some of its disks.
	dying := filepath.Join(d.cfg.Root, ".del-"+id)
	err = os.RemoveAll(dying)
	if err == nil {
		if err = os.Rename(d.dir(id), dying); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = errors.Join(os.RemoveAll(dying), os.RemoveAll(filepath.Join(d.cfg.Root, ".new-"+id)),
			os.RemoveAll(d.scratchDir(id)), os.RemoveAll(d.runDir(id)))
	}
	if err != nil {
		return fmt.Errorf("qemu: deleting %s: %w", id, err)
	}
	return nil
}

// killAll ends every process that a record of the machine names.
func (d *Driver) killAll(ctx context.Context, id string) error {
	procs, err := d.processes(id)
	for _, p := range procs {
		err = errors.Join(err, p.kill(ctx))
	}
	return err
}
