package qemu

import (
	"fmt"
	"path/filepath"

	"holdfast/compute"
)

// diskList is the file of a generation that says which disks it has, in the
// order the guest sees them. Where it is absent they are those that the machine
// was defined with.
const diskList = "disks.json"

// disks are those of a generation, by the name of its directory.
func (d *Driver) disks(id, dir string, defined []compute.Disk) ([]compute.Disk, error) {
	var own []compute.Disk
	found, err := readJSON(d.file(id, filepath.Join(dir, diskList)), &own)
	if err != nil || !found {
		return defined, err
	}
	if err := validateDisks(own); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", diskList, id, err)
	}
	return own, nil
}

// putDisks says which disks a generation has from now on.
func (d *Driver) putDisks(id, dir string, disks []compute.Disk) error {
	own := make([]compute.Disk, len(disks))
	for i, dk := range disks {
		own[i] = compute.Disk{Name: dk.Name, SizeBytes: dk.SizeBytes} // images are read once
	}
	return writeJSON(d.file(id, filepath.Join(dir, diskList)), own)
}
