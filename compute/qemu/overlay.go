package qemu

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"holdfast/compute"
)

// newLayer makes the files of a layer above those that a conversation is about,
// empty and durable, in no list yet.
func (d *Driver) newLayer(ctx context.Context, s *session, m compute.Machine) (layer, error) {
	var name [4]byte
	_, _ = rand.Read(name[:]) // never fails
	y := layer{Name: hex.EncodeToString(name[:]), Tracks: map[string][]string{}}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return y, err
	}
	sizes, err := s.sizes(ctx)
	if err != nil {
		return y, err
	}
	for _, dk := range m.Disks {
		y.Disks = append(y.Disks, dk.Name)
		top := s.layers.top(dk.Name)
		var dead []action
		y.Tracks[dk.Name], dead = goOn(top, nodes[top])
		if err := s.transaction(ctx, dead); err != nil {
			return y, err
		}
		path := d.path(m.ID, current, dk.Name, &y)
		if err := d.createDisk(ctx, path, compute.Disk{Name: dk.Name, SizeBytes: sizes[s.layers.top(dk.Name)]}); err != nil {
			return y, err
		}
		if err := d.giveAs(path, d.diskPath(m.ID, dk.Name)); err != nil {
			return y, err
		}
	}
	err = syncDir(d.file(m.ID, current))
	d.at("qemu.layer.made")
	return y, err
}

// maxTracks bounds how many bitmaps go on in a layer. There are two of a disk at
// most; the list of them is the hypervisor's word.
const maxTracks = 8

// goOn are the bitmaps of a node that go on in the layer to come above it. What is
// worth nothing goes, as long as that can be written: the node could not grow with
// it.
func goOn(node string, have []bitmap) (names []string, dead []action) {
	for _, b := range have {
		switch {
		case b.Inconsistent:
			dead = append(dead, remove(node, b.Name))
		case b.Recording && len(names) < maxTracks && pointName.MatchString(strings.TrimPrefix(b.Name, bitmapPrefix)):
			names = append(names, b.Name)
		}
	}
	return names, dead
}

// openLayer gives the process the files of a layer.
func (s *session) openLayer(ctx context.Context, d *Driver, m compute.Machine, y layer) error {
	for _, disk := range y.Disks {
		if err := s.addNode(ctx, d.node(m.ID, current, disk, &y, nil, false)); err != nil {
			return err
		}
	}
	return nil
}

// pile puts an open layer on top of all disks at one instant: QEMU lets no request
// in while a transaction is carried out. Bitmaps go on in it.
func (s *session) pile(ctx context.Context, y layer) error {
	var actions []action
	for _, disk := range y.Disks {
		node := y.node(disk)
		actions = append(actions, action{"blockdev-snapshot", args{"node": s.layers.top(disk), "overlay": node}})
		for _, name := range y.Tracks[disk] {
			actions = append(actions, action{"block-dirty-bitmap-add", args{
				"node": node, "name": name, "persistent": true, "granularity": granule,
			}})
		}
	}
	if err := s.transaction(ctx, actions); err != nil {
		return err
	}
	s.layers = append(slices.Clone(s.layers), y)
	return nil
}

// push puts a new layer on the disks that the machine, or a storage daemon, has
// open. snap, if it is not nil, is what its creation makes: it gets its instant,
// and whether the guest's file systems were frozen.
//
// The list names the layer before it is written to, as pending: if QEMU ends
// before the transaction, an empty layer changes nothing. Only this process can
// tell whether the transaction came to pass, and settled asks it.
func (d *Driver) push(ctx context.Context, s *session, m compute.Machine, snap *compute.Snapshot) (err error) {
	if len(s.layers) >= maxLayers {
		return fmt.Errorf("qemu: machine %s has %d layers: %w", m.ID, len(s.layers), compute.ErrState)
	}
	defer func() {
		if err != nil {
			cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
			defer cancel()
			if _, serr := d.settleIn(cctx, m, s); serr != nil {
				err = errors.Join(err, fmt.Errorf("qemu: undoing a layer: %w", serr))
			}
		}
	}()
	y, err := d.newLayer(ctx, s, m)
	if err != nil {
		return err
	}
	before := s.layers
	y.Pending, y.Snapshot = &s.proc, snap
	if snap != nil {
		snap.At = time.Now().UTC() // what is found after a cut is hardly older
	}
	if err := d.putLayers(m.ID, append(slices.Clone(before), y)); err != nil {
		return err
	}
	d.at("qemu.layer.listed")
	if err := s.openLayer(ctx, d, m, y); err != nil {
		return err
	}
	for _, disk := range y.Disks { // what the guest has to wait for is less then
		if err := syncFile(d.topPath(m.ID, current, disk, before)); err != nil {
			return err
		}
	}
	d.at("qemu.layer.open")
	y.Pending = nil
	if snap == nil {
		err = s.pile(ctx, y)
	} else {
		err = d.instant(ctx, s, m, y, snap)
	}
	if err != nil {
		return err
	}
	d.at("qemu.layer.piled")
	return d.putLayers(m.ID, s.layers)
}

// instant piles a layer with the guest's file systems frozen, if it has an agent
// that does it in time.
func (d *Driver) instant(ctx context.Context, s *session, m compute.Machine, y layer, snap *compute.Snapshot) error {
	status := "shutdown"
	var err error
	if s.live {
		if status, err = s.status(ctx); err != nil {
			return err
		}
	}
	why := "the guest does not run"
	if status == "running" {
		if why, err = d.whyNotFreeze(ctx, s); err != nil {
			return err
		}
	}
	if why != "" {
		snap.At = time.Now().UTC()
		return s.pile(ctx, y)
	}
	dog, err := d.watch(ctx, m.ID)
	if err != nil {
		return err
	}
	dog.ask()
	d.at("qemu.layer.freezing")
	why = dog.frozen()
	d.at("qemu.layer.frozen")
	began := time.Now()
	snap.At = began.UTC()
	err = s.pile(ctx, y)
	took := time.Since(began)
	thawed, rerr := dog.release()
	if errors.Is(rerr, errUnthawed) {
		d.thaw(m.ID)
	}
	// The transaction is of one instant whatever the watchdog did; only whether
	// that was a frozen one is in doubt.
	snap.Frozen = why == "" && thawed && rerr == nil
	d.log.Debug("guest was frozen for a snapshot", "machine", m.ID, "snapshot", snap.ID, "switched in", took, "frozen", snap.Frozen, "why not", why)
	return err
}

// absorb has the bitmaps of a disk's highest layer begin there, with all that was
// recorded below: it is about to become larger than the layers below are, and
// bitmaps of different sizes cannot be merged.
func (d *Driver) absorb(ctx context.Context, s *session, m compute.Machine, disk string) error {
	y := s.layers.highest(disk)
	if y == nil || len(y.Tracks[disk]) == 0 {
		return nil
	}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	stack, err := s.layers.tracking(disk, nodes)
	if err != nil {
		return err
	}
	var actions []action
	for _, b := range stack[0].bitmaps {
		if !slices.Contains(y.Tracks[disk], b.Name) {
			continue
		}
		if below, lost := run(stack, b.Name); lost != "" || !b.Recording || b.Inconsistent {
			actions = append(actions, remove(stack[0].node, b.Name))
		} else {
			actions = append(actions, mergeFrom(stack[0].node, b.Name, below))
		}
	}
	if err := s.transaction(ctx, actions); err != nil {
		return err
	}
	delete(y.Tracks, disk) // the map is the list's own
	return d.putLayers(m.ID, s.layers)
}

// dropFromLayers removes a disk, which the machine does not have any more, from
// all layers.
func (d *Driver) dropFromLayers(id, disk string) error {
	l, err := d.layers(id, current)
	if err != nil || len(l.of(disk)) == 0 {
		return err
	}
	for i := range l {
		l[i].Disks = slices.DeleteFunc(l[i].Disks, func(o string) bool { return o == disk })
		delete(l[i].Tracks, disk)
	}
	return errors.Join(d.putLayers(id, l), d.removeLayerFiles(id, l))
}

// removeLayerFiles removes the files of layers that the list does not name.
func (d *Driver) removeLayerFiles(id string, l layers) error {
	entries, err := os.ReadDir(d.file(id, current))
	if err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	for _, e := range entries {
		part := layerFile.FindStringSubmatch(e.Name())
		if part == nil || slices.ContainsFunc(l, func(y layer) bool { return y.Name == part[2] && slices.Contains(y.Disks, part[1]) }) {
			continue
		}
		err = errors.Join(err, removeAll(d.file(id, current)+"/"+e.Name()))
	}
	return err
}
