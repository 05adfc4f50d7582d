package backup

import (
	"fmt"
	"io"

	"holdfast"
	"holdfast/disk"
	"holdfast/disk/partition"
	"holdfast/vault"
)

// grow gives a larger disk's room to its last partition, where that is safe, and
// says what is left to do. The file system in it is the guest's to grow.
func grow(r io.ReaderAt, image vault.Image, to disk.Sink) (*holdfast.DiskGrowth, error) {
	c, err := partition.Grow(r, image.Size, to.Size())
	if err != nil {
		return nil, err
	}
	for _, w := range c.Writes {
		if _, err := to.WriteAt(w.Data, w.Offset); err != nil {
			return nil, fmt.Errorf("grow: %w", err)
		}
	}
	g := &holdfast.DiskGrowth{Disk: image.Name, Partition: c.Partition, Note: c.Why}
	if c.Partition > 0 {
		g.Note = fmt.Sprintf("Partition %d was grown by %d MiB. If the VPS does not grow the file system in it when it boots, do it there: resize2fs (ext4), xfs_growfs (XFS).",
			c.Partition, c.Bytes>>20)
	}
	return g, nil
}
