package qemu

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"

	"holdfast/compute"
)

// layerList is the file of a generation that lists its layers. It is the switch
// for all disks at once: what it says is what the next process opens. Where it is
// absent each disk is one file.
const layerList = "layers.json"

// maxLayers bounds how many files a disk is made of.
const maxLayers = 64

// layer is a file on each of the disks (<disk>.<layer>.qcow2) that has what was
// written since it was made; what it has not is in the layers below.
type layer struct {
	// Name is unique in the generation.
	Name string `json:"name"`
	// Disks that have a file of it: those of the machine when it was made.
	Disks []string `json:"disks"`
	// Snapshot is the one whose state is below this layer; nil for a layer that
	// only waits to be written into the one below.
	Snapshot *compute.Snapshot `json:"snapshot,omitempty"`
	// Tracks are, for each disk, the bitmaps of the layer below that go on here.
	Tracks map[string][]string `json:"tracks,omitempty"`
	// Pending is the process that is to write to it, until it is known to do so.
	Pending *process `json:"pending,omitempty"`
}

var (
	layerName = regexp.MustCompile(`^[0-9a-f]{8}$`)
	layerNode = regexp.MustCompile(`^d-[a-z0-9]{1,16}\.([0-9a-f]{8})$`)
	layerFile = regexp.MustCompile(`^([a-z0-9]{1,16})\.([0-9a-f]{8})\.qcow2$`)
)

// layers of a generation, the lowest first, without the disks' first files.
type layers []layer

// layers are those of a generation, by the name of its directory.
func (d *Driver) layers(id, dir string) (layers, error) {
	var l layers
	if _, err := readJSON(d.file(id, filepath.Join(dir, layerList)), &l); err != nil {
		return nil, err
	}
	if len(l) > maxLayers {
		return nil, fmt.Errorf("qemu: machine %s has %d layers", id, len(l))
	}
	for i, y := range l {
		again := slices.ContainsFunc(l[:i], func(o layer) bool { return o.Name == y.Name })
		if again || !layerName.MatchString(y.Name) || !slices.ContainsFunc(y.Disks, diskName.MatchString) {
			return nil, fmt.Errorf("qemu: machine %s has a layer %.20q of disks %.200q", id, y.Name, y.Disks)
		}
	}
	return l, nil
}

// putLayers replaces the list of the generation in force.
func (d *Driver) putLayers(id string, l layers) error {
	return writeJSON(d.file(id, filepath.Join(current, layerList)), l)
}

// of are the layers that a disk has, the lowest first.
func (l layers) of(disk string) layers {
	var own layers
	for _, y := range l {
		if slices.Contains(y.Disks, disk) {
			own = append(own, y)
		}
	}
	return own
}

// node is the name of a disk's node of the layer, or of its first file for nil.
func (y *layer) node(disk string) string {
	if y == nil {
		return diskNode(disk)
	}
	return diskNode(disk) + "." + y.Name
}

// top is the node that the guest writes to.
func (l layers) top(disk string) string { return l.highest(disk).node(disk) }

// highest is the layer that the guest writes to, nil for the disk's first file.
func (l layers) highest(disk string) *layer {
	own := l.of(disk)
	if len(own) == 0 {
		return nil
	}
	return &own[len(own)-1]
}

// path is the file of a layer, or the disk's first one for nil.
func (d *Driver) path(id, dir, disk string, y *layer) string {
	if y == nil {
		return d.diskIn(id, dir, disk)
	}
	return d.diskIn(id, dir, disk+"."+y.Name)
}

func (d *Driver) topPath(id, dir, disk string, l layers) string {
	return d.path(id, dir, disk, l.highest(disk))
}

// node describes the node of one file: never a probed format, never a backing
// file that the image names. Its file is opened for reading only as it is itself,
// and so can be opened for writing again.
func (d *Driver) node(id, dir, disk string, y *layer, backing any, readOnly bool) args {
	return args{
		"driver": "qcow2", "node-name": y.node(disk), "discard": "unmap", "read-only": readOnly, "backing": backing,
		"file": args{"driver": "file", "filename": d.path(id, dir, disk, y), "discard": "unmap"},
	}
}

// stack describes all nodes of a disk, the lowest first, in the order in which
// they have to be opened. All but the highest are read only.
func (d *Driver) stack(id, dir, disk string, l layers, readOnly bool) []args {
	own := l.of(disk)
	list := []args{d.node(id, dir, disk, nil, nil, readOnly || len(own) > 0)}
	var below *layer
	for i := range own {
		list = append(list, d.node(id, dir, disk, &own[i], below.node(disk), readOnly || i < len(own)-1))
		below = &own[i]
	}
	return list
}

// tracked is a layer of a disk with its bitmaps.
type tracked struct {
	node    string
	bitmaps []bitmap
	goesOn  []string // from the layer below
}

// tracking has the layers of a disk with their bitmaps, the highest first.
func (l layers) tracking(disk string, nodes map[string][]bitmap) ([]tracked, error) {
	own := l.of(disk)
	var stack []tracked
	for i := len(own) - 1; i >= -1; i-- {
		var y *layer
		var goesOn []string
		if i >= 0 {
			y, goesOn = &own[i], own[i].Tracks[disk]
		}
		have, ok := nodes[y.node(disk)]
		if !ok {
			return nil, fmt.Errorf("qemu: %s is not a disk of the running machine", y.node(disk))
		}
		stack = append(stack, tracked{y.node(disk), have, goesOn})
	}
	return stack, nil
}

// run are the nodes below the highest on which a bitmap of the highest recorded
// before, back to where it began; or why they do not have all that it recorded.
func run(stack []tracked, name string) (nodes []string, lost string) {
	for i := 0; slices.Contains(stack[i].goesOn, name); {
		if i++; i == len(stack) {
			return nil, lostMissing
		}
		at := slices.IndexFunc(stack[i].bitmaps, func(b bitmap) bool { return b.Name == name })
		switch {
		case at < 0:
			return nil, lostMissing
		case stack[i].bitmaps[at].Inconsistent:
			return nil, lostInconsistent
		case !stack[i].bitmaps[at].Recording:
			return nil, lostMissing // it was frozen, and what froze it is gone
		}
		nodes = append(nodes, stack[i].node)
	}
	return nodes, ""
}
