package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"holdfast/compute"
)

// createDisk makes a disk of zeros, or of an image's content. The image may
// come from anyone: it is looked at by code that bounds what it reads before
// qemu-img sees it, and qemu-img runs under limits.
func (d *Driver) createDisk(ctx context.Context, path string, dk compute.Disk) error {
	size := fmt.Sprint(dk.SizeBytes)
	if dk.Image == "" {
		if err := d.img(ctx, "create", "-q", "-f", "qcow2", path, size); err != nil {
			return err
		}
		return syncFile(path)
	}
	if err := d.checkImage(ctx, dk); err != nil {
		return fmt.Errorf("image of %s: %w", dk.Name, err)
	}
	if err := d.img(ctx, "convert", "-f", dk.ImageFormat, "-O", "qcow2", dk.Image, path); err != nil {
		return err
	}
	if err := d.img(ctx, "resize", "-q", "-f", "qcow2", path, size); err != nil {
		return err
	}
	return syncFile(path)
}

func (d *Driver) checkImage(ctx context.Context, dk compute.Disk) error {
	f, err := os.Open(dk.Image)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", dk.Image)
	}
	size := fi.Size()
	switch dk.ImageFormat {
	case "raw":
	case "qcow2":
		var h qcow2Header
		if err := binary.Read(io.LimitReader(f, 1<<10), binary.BigEndian, &h); err != nil {
			return fmt.Errorf("%s: qcow2 header: %w", dk.Image, err)
		}
		if err := h.check(); err != nil {
			return fmt.Errorf("%s: %w", dk.Image, err)
		}
		if err := d.img(ctx, "info", "--output=json", "-f", "qcow2", dk.Image); err != nil {
			return err
		}
		size = int64(h.Size) //nolint:gosec // bounded by check
	default:
		return fmt.Errorf("format %.20q: it has to be raw or qcow2", dk.ImageFormat)
	}
	if size > dk.SizeBytes {
		return fmt.Errorf("%s has %d bytes, the disk %d", dk.Image, size, dk.SizeBytes)
	}
	return nil
}

// qcow2Header is the part of the format's header that decides what else a
// reader of the file would open.
type qcow2Header struct {
	Magic, Version        uint32
	BackingOffset         uint64
	BackingSize           uint32
	ClusterBits           uint32
	Size                  uint64
	Crypt                 uint32
	L1Size                uint32
	L1Offset, RefOffset   uint64
	RefClusters, Snapshot uint32
	SnapshotOffset        uint64
	Incompatible          uint64 // of version 3 on
}

const (
	qcow2Magic = 0x514649fb
	// Of the features that a reader must know, those that need nothing else:
	// dirty, corrupt (qemu-img refuses it), compression type, extended L2.
	qcow2Features = 1<<0 | 1<<1 | 1<<3 | 1<<4
)

var errHostileImage = errors.New("image refers to something outside itself")

func (h *qcow2Header) check() error {
	switch {
	case h.Magic != qcow2Magic || h.Version != 2 && h.Version != 3:
		return errors.New("not a qcow2 image")
	case h.BackingOffset != 0 || h.BackingSize != 0:
		return fmt.Errorf("%w: a backing file", errHostileImage)
	case h.Crypt != 0:
		return errors.New("encrypted image")
	case h.Size > 1<<50 || h.ClusterBits < 9 || h.ClusterBits > 21 || h.L1Size > 4<<20:
		return errors.New("qcow2 header out of bounds")
	case h.Version == 3 && h.Incompatible&(1<<2) != 0:
		return fmt.Errorf("%w: an external data file", errHostileImage)
	case h.Version == 3 && h.Incompatible&^qcow2Features != 0:
		return fmt.Errorf("unknown qcow2 features %#x", h.Incompatible)
	}
	return nil
}
