package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"holdfast/compute"
)

// maxSocketPath is what sun_path holds, without the final zero.
const maxSocketPath = 107

var (
	machineID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$`)
	diskName  = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
	pointName = regexp.MustCompile(`^[0-9a-z][0-9a-z.]{0,63}$`)
)

// checkID keeps ids that come from outside from naming other places.
func checkID(id string) error {
	if !machineID.MatchString(id) {
		return fmt.Errorf("qemu: machine id %.70q is not of [0-9A-Za-z_-]{1,64}", id)
	}
	return nil
}

func checkPoint(p compute.Point) error {
	if !pointName.MatchString(string(p)) {
		return fmt.Errorf("qemu: point %.70q is not of [0-9a-z.]{1,64}", p)
	}
	return nil
}

// A machine's files: everything in its own directory but sockets and scratch.
func (d *Driver) dir(id string) string          { return filepath.Join(d.cfg.Root, id) }
func (d *Driver) file(id, name string) string   { return filepath.Join(d.cfg.Root, id, name) }
func (d *Driver) runDir(id string) string       { return filepath.Join(d.cfg.Run, id) }
func (d *Driver) scratchDir(id string) string   { return filepath.Join(d.cfg.Scratch, id) }
func (d *Driver) socket(id, name string) string { return filepath.Join(d.cfg.Run, id, name) }
func (d *Driver) lockPath(id string) string     { return filepath.Join(d.cfg.Root, "."+id+".lock") }

// A generation of disks is a directory of the machine's. One of them is in force:
// the symbolic link current points to it.
const (
	generationPrefix = "gen-"
	current          = "current"
)

// diskPath follows the pointer to the generation in force.
func (d *Driver) diskPath(id, disk string) string { return d.diskIn(id, current, disk) }

// diskIn is the path of a disk in one of the machine's directories of disks.
func (d *Driver) diskIn(id, dir, disk string) string {
	return d.file(id, filepath.Join(dir, disk+".qcow2"))
}

// Sockets of a machine's run directory.
const (
	socketQMP      = "qmp"
	socketWatchdog = "dog"
	socketAgent    = "agent" // the host's end of the guest agent's channel
)

// usualID is the length of a machine's id in practice: a prefix and a ULID.
const usualID = 30

func longestSocket(run string) int {
	// The longest of all names below.
	return len(filepath.Join(run, strings.Repeat("x", usualID), "f"+strings.Repeat("x", 16)+".nbd"))
}

func (d *Driver) checkSockets(id string) error {
	if n := longestSocket(d.cfg.Run) - usualID + len(id); n > maxSocketPath {
		return fmt.Errorf("qemu: machine id %s makes socket paths of %d bytes in %s, the kernel allows %d", id, n, d.cfg.Run, maxSocketPath)
	}
	return nil
}

// pointHash stands for a point where its name is too long: a node's name has
// at most 31 characters.
func pointHash(p compute.Point) string {
	h := sha256.Sum256([]byte(p))
	return hex.EncodeToString(h[:8])
}

// names of all that belongs to one disk of one point.
type names struct {
	scratch, filter, access string // nodes
	export                  string // id
}

var pointNode = regexp.MustCompile(`^hf([sca])[0-9]+-[0-9a-f]{16}$`)

func namesOf(p compute.Point, i int) names {
	h := pointHash(p)
	return names{
		scratch: fmt.Sprintf("hfs%d-%s", i, h), filter: fmt.Sprintf("hfc%d-%s", i, h),
		access: fmt.Sprintf("hfa%d-%s", i, h), export: fmt.Sprintf("hfe%d-%s", i, h),
	}
}

func (d *Driver) scratchPath(id string, p compute.Point, disk string) string {
	return filepath.Join(d.scratchDir(id), pointHash(p)+"-"+disk+".raw")
}

func (d *Driver) exportSocket(id string, p compute.Point) string {
	return d.socket(id, "p"+pointHash(p)+".nbd")
}

func (d *Driver) daemonSocket(id string, p compute.Point) string {
	return d.socket(id, "p"+pointHash(p)+".qmp")
}

// The names QEMU knows a disk by.
func diskNode(disk string) string   { return "d-" + disk }
func diskDevice(disk string) string { return "/machine/peripheral/v-" + disk + "/virtio-backend" }

// bitmapPrefix marks the bitmaps that are ours.
const bitmapPrefix = "hf-"

func bitmapOf(p compute.Point) string { return bitmapPrefix + string(p) }
