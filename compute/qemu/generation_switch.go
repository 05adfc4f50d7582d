package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"holdfast/compute"
)

// Ready ends the filling of a generation. The bitmaps of its points are begun by
// a storage daemon that has all disks open, and are saved when it quits.
func (d *Driver) Ready(ctx context.Context, id, name string, at map[string]compute.Point) error {
	for _, p := range at {
		if err := checkPoint(p); err != nil {
			return err
		}
	}
	_, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	dir, ready, err := d.generation(id, name)
	if err != nil || ready {
		return err
	}
	disks, err := d.disks(id, dir, nil)
	if err != nil {
		return err
	}
	for _, dk := range disks {
		if err := d.settleDisk(ctx, id, dir, dk, at[dk.Name]); err != nil {
			return fmt.Errorf("qemu: generation %s of %s: %w", name, id, err)
		}
	}
	d.at("qemu.generation.tracked")
	err = syncDir(d.file(id, dir))
	if err == nil {
		err = os.Rename(d.file(id, dir), d.file(id, generationPrefix+name))
	}
	if err == nil {
		err = syncDir(d.dir(id))
	}
	if err != nil {
		return noSpace(fmt.Errorf("qemu: generation %s of %s: %w", name, id, err))
	}
	d.at("qemu.generation.ready")
	return nil
}

// settleDisk ends all writing to a disk, begins its bitmap and makes it durable.
func (d *Driver) settleDisk(ctx context.Context, id, dir string, dk compute.Disk, p compute.Point) error {
	o := d.asideOf(id, dk.Name)
	if err := d.shut(ctx, o); err != nil {
		return err
	}
	path := d.diskIn(id, dir, dk.Name)
	if p != "" {
		o.dir = dir
		proc, err := d.open(ctx, o) // it drops what bitmaps there are
		if err != nil {
			return err
		}
		s, err := dialSession(ctx, d.socket(id, o.socket+".qmp"), proc)
		if err == nil {
			err = s.transaction(ctx, []action{{"block-dirty-bitmap-add", args{
				"node": diskNode(dk.Name), "name": bitmapOf(p), "persistent": true, "granularity": granule,
			}}})
			_ = s.Close() // never fails
		}
		if err := errors.Join(err, d.shut(ctx, o)); err != nil {
			return err
		}
	}
	return syncFile(path)
}

// Switch puts a generation in force: the pointer of the machine is replaced by
// another.
func (d *Driver) Switch(ctx context.Context, id, name string) error {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	dir, ready, err := d.generation(id, name)
	if err != nil {
		return err
	}
	now, err := d.inForce(id)
	if err != nil || now == dir {
		return err
	}
	if !ready {
		return fmt.Errorf("qemu: generation %s of %s is not ready: %w", name, id, compute.ErrState)
	}
	if err := d.quiet(ctx, m); err != nil {
		return err
	}
	disks, err := d.disks(id, dir, m.Disks)
	if err != nil {
		return err
	}
	if err := d.shutAsides(ctx, id, disks); err != nil {
		return err
	}
	link := d.file(id, current+".new")
	err = removeAll(link) // of a call that was cut off
	if err == nil {
		err = os.Symlink(dir, link)
	}
	if err == nil {
		d.at("qemu.generation.linked")
		err = os.Rename(link, d.file(id, current))
	}
	if err == nil {
		d.at("qemu.generation.switched")
		err = syncDir(d.dir(id))
	}
	if err != nil {
		return noSpace(fmt.Errorf("qemu: generation %s of %s: %w", name, id, err))
	}
	return nil
}

// quiet makes sure that nothing has the disks in force open: ErrState for a
// machine that runs, ErrBusy for one that is being filled.
func (d *Driver) quiet(ctx context.Context, m compute.Machine) error {
	if _, alive, err := d.running(m.ID); err != nil || alive {
		return errors.Join(err, fmt.Errorf("qemu: machine %s runs: %w", m.ID, compute.ErrState))
	}
	if fills, err := d.fills(m.ID); err != nil || len(fills) > 0 {
		return errors.Join(err, fmt.Errorf("qemu: a disk of %s is being filled: %w", m.ID, compute.ErrBusy))
	}
	if err := d.endLeftover(ctx, m, nil); err != nil {
		return err
	}
	_, err := d.settled(ctx, m)
	return errors.Join(err, d.killPointDaemon(ctx, m.ID))
}

// Drop removes a generation that is not in force. It is renamed first, so that a
// cut leaves none without some of its disks.
func (d *Driver) Drop(ctx context.Context, id, name string) error {
	_, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	dir, _, err := d.generation(id, name)
	if err != nil && !errors.Is(err, compute.ErrNoGeneration) {
		return err
	}
	if !generationName.MatchString(name) {
		return nil // such a generation cannot exist
	}
	dying := d.file(id, ".drop-"+name)
	if dir != "" {
		if err := d.giveUp(ctx, id, dir, dying); err != nil {
			return fmt.Errorf("qemu: dropping generation %s of %s: %w", name, id, err)
		}
		d.at("qemu.generation.dropped")
	}
	if err := errors.Join(os.RemoveAll(dying), os.RemoveAll(d.file(id, ".prep-"+name))); err != nil {
		return fmt.Errorf("qemu: dropping generation %s of %s: %w", name, id, err)
	}
	return nil
}

func (d *Driver) giveUp(ctx context.Context, id, dir, dying string) error {
	if now, err := d.inForce(id); err != nil || now == dir {
		return errors.Join(err, fmt.Errorf("%s is in force: %w", dir, compute.ErrState))
	}
	defined, err := d.defined(id)
	if err != nil {
		return err
	}
	disks, err := d.disks(id, dir, defined.Disks)
	if err != nil {
		return err
	}
	if err := d.shutAsides(ctx, id, disks); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(dying), os.Rename(d.file(id, dir), dying))
}
