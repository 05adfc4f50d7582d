package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/compute"
)

// What a generation is, its directory's name says: one that is being made begins
// with a dot, one that is being filled is prep-<name>, one that is ready
// gen-<name>. Each change is a rename.
const preparedPrefix = "prep-"

var generationName = regexp.MustCompile(`^[0-9a-z]{1,32}$`)

// generation finds the directory of a generation: ErrNoGeneration.
func (d *Driver) generation(id, name string) (dir string, ready bool, err error) {
	if generationName.MatchString(name) {
		for _, prefix := range []string{generationPrefix, preparedPrefix} {
			_, err := os.Stat(d.file(id, prefix+name))
			if err == nil {
				return prefix + name, prefix == generationPrefix, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return "", false, fmt.Errorf("qemu: %w", err)
			}
		}
	}
	return "", false, fmt.Errorf("qemu: machine %s: generation %.40q: %w", id, name, compute.ErrNoGeneration)
}

// inForce is the directory of the generation in force.
func (d *Driver) inForce(id string) (dir string, err error) {
	dir, err = os.Readlink(d.file(id, current))
	if err != nil {
		return "", fmt.Errorf("qemu: %w", err)
	}
	return dir, nil
}

// Generations lists the machine's sets of disks.
func (d *Driver) Generations(ctx context.Context, id string) ([]compute.Generation, error) {
	_, unlock, err := d.enter(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	defined, err := d.defined(id)
	if err != nil {
		return nil, err
	}
	now, err := d.inForce(id)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.dir(id))
	if err != nil {
		return nil, fmt.Errorf("qemu: %w", err)
	}
	var found []compute.Generation
	for _, e := range entries {
		name, ready := strings.CutPrefix(e.Name(), generationPrefix)
		if !ready {
			var prepared bool
			if name, prepared = strings.CutPrefix(e.Name(), preparedPrefix); !prepared {
				continue
			}
		}
		g := compute.Generation{Name: name, Current: e.Name() == now, Ready: ready}
		if g.Disks, err = d.disks(id, e.Name(), defined.Disks); err != nil {
			return nil, err
		}
		if g.Bytes, err = stored(d.file(id, e.Name())); err != nil {
			return nil, fmt.Errorf("qemu: %w", err)
		}
		found = append(found, g)
	}
	return found, nil
}

// stored is how many bytes a directory's files take.
func stored(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		var st unix.Stat_t
		err = unix.Lstat(path, &st)
		if errors.Is(err, unix.ENOENT) {
			return nil // a hypervisor's temporary file
		}
		sum += st.Blocks * 512
		return err
	})
	return sum, err
}

// Prepare makes a generation of zeros, in a directory that is renamed when it is
// whole.
func (d *Driver) Prepare(ctx context.Context, id, name string, disks []compute.Disk) error {
	if !generationName.MatchString(name) {
		return fmt.Errorf("qemu: generation %.40q is not of [0-9a-z]{1,32}", name)
	}
	if err := validateDisks(disks); err != nil {
		return err
	}
	_, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	dir, _, err := d.generation(id, name)
	if err == nil {
		return d.sameGeneration(id, dir, disks)
	}
	if !errors.Is(err, compute.ErrNoGeneration) {
		return err
	}
	making := d.file(id, ".prep-"+name)
	err = os.RemoveAll(making) // of a call that was cut off
	if err == nil {
		err = d.makeDisks(ctx, id, making, disks)
	}
	if err == nil {
		d.at("qemu.generation.made")
		err = os.Rename(making, d.file(id, preparedPrefix+name))
	}
	if err == nil {
		err = syncDir(d.dir(id))
	}
	if err != nil {
		return noSpace(errors.Join(fmt.Errorf("qemu: generation %s of %s: %w", name, id, err), os.RemoveAll(making)))
	}
	d.at("qemu.generation.prepared")
	return nil
}

func (d *Driver) sameGeneration(id, dir string, disks []compute.Disk) error {
	now, err := d.inForce(id)
	if err != nil {
		return err
	}
	have, err := d.disks(id, dir, nil)
	if err != nil {
		return err
	}
	if dir == now || !slices.Equal(have, disks) {
		return fmt.Errorf("qemu: %s of %s has other disks: %w", dir, id, compute.ErrState)
	}
	return nil
}

func (d *Driver) makeDisks(ctx context.Context, id, dir string, disks []compute.Disk) error {
	if err := passable(dir); err != nil {
		return err
	}
	for _, dk := range disks {
		path := filepath.Join(dir, dk.Name+".qcow2")
		if err := d.createDisk(ctx, path, dk); err != nil {
			return err
		}
		if err := d.giveAs(path, d.diskPath(id, dk.Name)); err != nil {
			return err
		}
	}
	return d.putDisks(id, filepath.Base(dir), disks)
}

// giveAs gives a disk the owner and the mode of the one that it is to replace;
// one that replaces none becomes the hypervisor's own.
func (d *Driver) giveAs(path, replaced string) error {
	fi, err := os.Stat(replaced)
	if errors.Is(err, fs.ErrNotExist) {
		return d.give(path, 0o600)
	}
	if err == nil {
		err = os.Chmod(path, fi.Mode().Perm())
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); err == nil && ok {
		err = os.Lchown(path, int(st.Uid), int(st.Gid))
	}
	if err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	return nil
}

// Room is how many bytes are free where the machine's disks lie.
func (d *Driver) Room(ctx context.Context, id string) (int64, error) {
	if _, err := d.defined(id); err != nil {
		return 0, err
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(d.cfg.Root, &fsys); err != nil {
		return 0, fmt.Errorf("qemu: room: %w", err)
	}
	return int64(fsys.Bavail) * fsys.Bsize, ctx.Err() //nolint:gosec // a file system is smaller than 8 EiB
}
