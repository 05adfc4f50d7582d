package qemu

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"

	"holdfast/compute"
)

var snapshotID = regexp.MustCompile(`^[0-9a-z]{1,32}$`)

// snapshots are those of the layers, the oldest first.
func (l layers) snapshots() []compute.Snapshot {
	list := []compute.Snapshot{}
	for _, y := range l {
		if y.Snapshot != nil && y.Pending == nil {
			list = append(list, *y.Snapshot)
		}
	}
	return list
}

// above is the place of the layer whose creation made a snapshot, -1 if there is
// none.
func (l layers) above(snapshot string) int {
	return slices.IndexFunc(l, func(y layer) bool {
		return y.Snapshot != nil && y.Pending == nil && y.Snapshot.ID == snapshot
	})
}

// idle refuses while a point in time is open or a disk is being filled.
func (d *Driver) idle(id string) error {
	h, found, err := d.leftover(id)
	if err == nil && found {
		err = fmt.Errorf("qemu: point %s of %s is open: %w", h.Point, id, compute.ErrBusy)
	}
	if err != nil {
		return err
	}
	if fills, err := d.fills(id); err != nil || len(fills) > 0 {
		return errors.Join(err, fmt.Errorf("qemu: a disk of %s is being filled: %w", id, compute.ErrBusy))
	}
	return nil
}

// Snapshot takes a snapshot of all disks: a new layer on each of them at one
// instant. What is below it does not change any more.
func (d *Driver) Snapshot(ctx context.Context, id, snapshot string) (compute.Snapshot, error) {
	none := compute.Snapshot{}
	if !snapshotID.MatchString(snapshot) {
		return none, fmt.Errorf("qemu: snapshot %.40q is not of [0-9a-z]{1,32}", snapshot)
	}
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return none, err
	}
	defer unlock()
	if err := d.idle(id); err != nil {
		return none, err
	}
	l, err := d.settled(ctx, m)
	if err != nil {
		return none, err
	}
	if i := l.above(snapshot); i >= 0 {
		return d.weighed(id, m, l)[slices.IndexFunc(l.snapshots(), func(s compute.Snapshot) bool { return s.ID == snapshot })], nil
	}
	s, err := d.attachLayers(ctx, m)
	if err != nil {
		return none, err
	}
	defer s.Close() //nolint:errcheck // never fails
	taken := compute.Snapshot{ID: snapshot}
	err = d.push(ctx, s, m, &taken)
	if !s.live {
		_ = s.Close() // never fails; a monitor serves one conversation
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		err = errors.Join(err, d.shut(cctx, layerDaemon(id)))
	}
	if err != nil {
		return none, fmt.Errorf("qemu: snapshot of %s: %w", id, err)
	}
	return taken, nil
}

// Snapshots lists them.
func (d *Driver) Snapshots(ctx context.Context, id string) ([]compute.Snapshot, error) {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	l, err := d.layers(id, current)
	if err != nil {
		return nil, err
	}
	return d.weighed(id, m, l), nil
}

// weighed are the snapshots with what is stored of them: the layers above each,
// up to the next.
func (d *Driver) weighed(id string, m compute.Machine, l layers) []compute.Snapshot {
	list, at := l.snapshots(), -1
	for i, y := range l {
		if y.Snapshot != nil && y.Pending == nil {
			at++
		}
		if at < 0 {
			continue
		}
		for _, dk := range m.Disks {
			var st unix.Stat_t
			if slices.Contains(y.Disks, dk.Name) && unix.Lstat(d.path(id, current, dk.Name, &l[i]), &st) == nil {
				list[at].Bytes += st.Blocks * 512
			}
		}
	}
	return list
}

// Rollback puts the disks of a stopped machine back to a snapshot: a new layer is
// made above what is below it, and the list names that instead of all the others.
func (d *Driver) Rollback(ctx context.Context, id, snapshot string) error {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	p, alive, err := d.running(id)
	if err != nil {
		return err
	}
	if alive {
		status, err := d.statusOf(ctx, id, p)
		if err != nil {
			return err
		}
		if powerOf(status) != compute.Stopped {
			return fmt.Errorf("qemu: machine %s is %s: %w", id, status, compute.ErrState)
		}
	}
	if err := d.idle(id); err != nil {
		return err
	}
	l, err := d.settled(ctx, m)
	if err != nil {
		return err
	}
	at := l.above(snapshot)
	if at < 0 {
		return fmt.Errorf("qemu: machine %s, snapshot %.40q: %w", id, snapshot, compute.ErrNoSnapshot)
	}
	if err := d.goBack(ctx, m, l, at); err != nil {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		_, serr := d.settled(cctx, m)
		return fmt.Errorf("qemu: rollback of %s: %w", id, errors.Join(err, serr))
	}
	return nil
}

// goBack replaces the layers from at on by an empty one.
func (d *Driver) goBack(ctx context.Context, m compute.Machine, l layers, at int) error {
	o := layerDaemon(m.ID)
	s, err := d.openLayers(ctx, m, l[:at], o.record, d.socket(m.ID, o.socket+".qmp"))
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // never fails
	y, err := d.newLayer(ctx, s, m)
	if err != nil {
		return err
	}
	if err := s.openLayer(ctx, d, m, y); err != nil {
		return err
	}
	if err := s.pile(ctx, y); err != nil {
		return err
	}
	d.at("qemu.rollback.piled")
	_ = s.Close()                          // never fails; a monitor serves one conversation
	if err := d.shut(ctx, o); err != nil { // which saves the bitmaps
		return err
	}
	for _, disk := range y.Disks {
		if err := syncFile(d.path(m.ID, current, disk, &y)); err != nil {
			return err
		}
	}
	d.at("qemu.rollback.made")
	y.Snapshot = l[at].Snapshot
	now := append(slices.Clone(l[:at]), y)
	if err := d.putLayers(m.ID, now); err != nil {
		return err
	}
	d.at("qemu.rollback.switched")
	return d.removeLayerFiles(m.ID, now)
}
