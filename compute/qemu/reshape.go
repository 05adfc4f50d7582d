package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"holdfast/compute"
)

// maxDisks of a machine.
const maxDisks = 16

// growPoint names the daemon that grows disks of stopped machines. No point in
// time has such a name, which would have a dot.
const growPoint compute.Point = "grow"

// Grow makes a disk larger with block_resize, in whatever process has it open.
// Bitmaps grow with it: persistent ones too, from QEMU 5.1 on, and what is new is
// clean in them. The list is written first: until the disk follows, what is made
// by the list is large enough, and a point in time has the size that the disk has.
func (d *Driver) Grow(ctx context.Context, id, name string, size int64) error {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	i := diskAt(m.Disks, name)
	if i < 0 {
		return fmt.Errorf("qemu: machine %s has no disk %.20q", id, name)
	}
	former := slices.Clone(m.Disks)
	m.Disks[i].SizeBytes = size
	if err := errors.Join(validateDisks(m.Disks), d.plain(ctx, m)); err != nil {
		return err
	}
	if have := former[i].SizeBytes; have > size {
		return fmt.Errorf("qemu: %s of %s has %d bytes, and never fewer: %w", name, id, have, compute.ErrState)
	}
	if err := d.relist(id, m.Disks); err != nil {
		return err
	}
	d.at("qemu.reshape.listed")
	if err := d.resize(ctx, m, name, size); err != nil {
		return noSpace(errors.Join(fmt.Errorf("qemu: growing %s of %s: %w", name, id, err), d.relist(id, former)))
	}
	return nil
}

func (d *Driver) resize(ctx context.Context, m compute.Machine, name string, size int64) error {
	s, err := d.attach(ctx, m, growPoint)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // never fails
	err = d.absorb(ctx, s, m, name)
	if err == nil {
		err = s.grow(ctx, name, size)
	}
	d.at("qemu.reshape.grown")
	if !s.live {
		err = errors.Join(err, s.quit(ctx), removeAll(d.file(m.ID, recordPoint), d.daemonSocket(m.ID, growPoint)))
	}
	return err
}

// grow makes a disk so large. A bitmap that is worth nothing any more would refuse
// it, and goes.
func (s *session) grow(ctx context.Context, name string, size int64) error {
	sizes, err := s.sizes(ctx)
	if err != nil {
		return err
	}
	if have := sizes[s.layers.top(name)]; have >= size {
		return nil
	}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	var dead []action
	for _, b := range nodes[s.layers.top(name)] {
		if b.Inconsistent {
			dead = append(dead, remove(s.layers.top(name), b.Name))
		}
	}
	if err := s.transaction(ctx, dead); err != nil {
		return err
	}
	return s.Execute(ctx, "block_resize", args{"node-name": s.layers.top(name), "size": size}, nil)
}

// measure takes the size of each disk from the disk: a Grow may have been cut off.
func (t *taking) measure(ctx context.Context, s *session) error {
	sizes, err := s.sizes(ctx)
	if err != nil {
		return err
	}
	for i, dk := range t.m.Disks {
		size := sizes[s.layers.top(dk.Name)]
		if size <= 0 {
			return fmt.Errorf("qemu: %s is not a disk of the running machine", dk.Name)
		}
		t.m.Disks[i].SizeBytes, t.h.Disks[i].SizeBytes = size, size
	}
	return nil
}

// sizes are those of all block nodes, in bytes.
func (s *session) sizes(ctx context.Context) (map[string]int64, error) {
	var list []struct {
		Name  string `json:"node-name"`
		Image struct {
			Size int64 `json:"virtual-size"`
		} `json:"image"`
	}
	if err := s.Execute(ctx, "query-named-block-nodes", args{"flat": true}, &list); err != nil {
		return nil, err
	}
	sizes := make(map[string]int64, len(list))
	for _, n := range list {
		sizes[n.Name] = n.Image.Size
	}
	return sizes, nil
}

// AddDisk makes the disk, and then lists it.
func (d *Driver) AddDisk(ctx context.Context, id string, dk compute.Disk) error {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if i := diskAt(m.Disks, dk.Name); i >= 0 {
		if have := m.Disks[i].SizeBytes; have != dk.SizeBytes {
			return fmt.Errorf("qemu: %s of %s is there, with %d bytes: %w", dk.Name, id, have, compute.ErrState)
		}
		return nil
	}
	if err := errors.Join(d.off(m), d.plain(ctx, m)); err != nil {
		return err
	}
	if len(m.Disks) >= maxDisks {
		return fmt.Errorf("qemu: %d disks are the most: %w", maxDisks, compute.ErrState)
	}
	m.Disks = append(m.Disks, dk)
	if err := validateDisks(m.Disks); err != nil {
		return err
	}
	dir, err := d.inForce(id)
	if err != nil {
		return err
	}
	path := d.diskIn(id, dir, dk.Name)
	err = errors.Join(d.dropFromLayers(id, dk.Name), removeAll(path)) // of a call that was cut off
	if err == nil {
		err = d.createDisk(ctx, path, dk)
	}
	if err == nil {
		err = errors.Join(d.give(path, 0o600), syncDir(d.file(id, dir)))
	}
	if err != nil {
		return noSpace(errors.Join(fmt.Errorf("qemu: adding %s to %s: %w", dk.Name, id, err), removeAll(path)))
	}
	d.at("qemu.reshape.made")
	return d.relist(id, m.Disks)
}

// RemoveDisk unlists the disk, and then removes it.
func (d *Driver) RemoveDisk(ctx context.Context, id, name string) error {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if !diskName.MatchString(name) {
		return nil // such a disk cannot exist
	}
	i := diskAt(m.Disks, name)
	if i == 0 {
		return fmt.Errorf("qemu: machine %s boots from %s: %w", id, name, compute.ErrState)
	}
	if i > 0 {
		if err := errors.Join(d.off(m), d.plain(ctx, m)); err != nil {
			return err
		}
		if err := d.relist(id, slices.Delete(m.Disks, i, i+1)); err != nil {
			return err
		}
		d.at("qemu.reshape.unlisted")
	}
	return errors.Join(d.dropFromLayers(id, name), removeAll(d.diskPath(id, name)))
}

// relist says which disks the generation in force has.
func (d *Driver) relist(id string, disks []compute.Disk) error {
	dir, err := d.inForce(id)
	if err != nil {
		return err
	}
	return d.putDisks(id, dir, disks)
}

func diskAt(disks []compute.Disk, name string) int {
	return slices.IndexFunc(disks, func(dk compute.Disk) bool { return dk.Name == name })
}

// off is ErrState for a machine that runs.
func (d *Driver) off(m compute.Machine) error {
	_, alive, err := d.running(m.ID)
	if err == nil && alive {
		err = fmt.Errorf("qemu: machine %s runs: %w", m.ID, compute.ErrState)
	}
	return err
}

// plain makes sure that nothing but the machine has its disks: ErrBusy while a
// point in time is open or a disk is filled, ErrState when it has snapshots.
func (d *Driver) plain(ctx context.Context, m compute.Machine) error {
	if err := d.idle(m.ID); err != nil {
		return err
	}
	l, err := d.settled(ctx, m)
	if err == nil && len(l.snapshots()) > 0 {
		err = fmt.Errorf("qemu: machine %s has snapshots: %w", m.ID, compute.ErrState)
	}
	return err
}
