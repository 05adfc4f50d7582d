package qemu

import (
	"context"

	"holdfast/compute"
)

// Why a disk has no parent although there are some: for people.
const (
	lostMissing      = "its change tracking is not there"
	lostInconsistent = "its change tracking was not saved: the hypervisor was killed, or the host went down"
)

// diskPlan is what Begin does to the bitmaps of one disk.
type diskPlan struct {
	node   string   // that the guest writes to
	before []action // settles what former points left behind
	parent compute.Point
	lost   string
}

// plan settles bitmaps that former points left behind, and chooses for each
// disk the parent that its extents will be relative to.
func (t *taking) plan(ctx context.Context, s *session, parents []compute.Point) error {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	for i, dk := range t.m.Disks {
		stack, err := s.layers.tracking(dk.Name, nodes)
		if err != nil {
			return err
		}
		p := planDisk(stack, parents)
		t.plans = append(t.plans, p)
		t.h.Disks[i].Parent, t.h.Disks[i].ParentLost = p.parent, p.lost
		if err := s.transaction(ctx, p.before); err != nil {
			return err
		}
	}
	return nil
}

// planDisk decides by the disk's bitmaps alone, those of the layer that the guest
// writes to first. A parent that records is a superset of what changed since; one
// that does not was frozen by a later point, which has the rest. Anything that is
// not consistent is worthless. What was recorded in the layers below, back to the
// one in which the point was taken, becomes part of the parent's: a superset again.
func planDisk(stack []tracked, parents []compute.Point) diskPlan {
	top := stack[0]
	node, have := top.node, top.bitmaps
	p := diskPlan{node: node}
	byName, broken := map[string]bitmap{}, false
	for _, b := range have {
		byName[b.Name] = b
		broken = broken || b.Inconsistent
	}
	if len(parents) > 0 {
		p.lost = lostMissing
	}
	for _, cand := range parents {
		b, ok := byName[bitmapOf(cand)]
		switch {
		case !ok:
			continue
		case b.Inconsistent || broken && !b.Recording:
			p.lost = lostInconsistent
			continue
		case !b.Recording && len(have) == 1:
			p.lost = lostMissing // that of the point which froze it
			continue
		}
		below, lost := run(stack, b.Name)
		if lost != "" {
			p.lost = lost
			continue
		}
		p.parent, p.lost = cand, ""
		if !b.Recording {
			p.before = append(p.before, mergeInto(node, b.Name, have), enable(node, b.Name))
		}
		if len(below) > 0 {
			p.before = append(p.before, mergeFrom(node, b.Name, below))
		}
		break
	}
	for _, b := range have {
		if p.parent == "" || b.Name != bitmapOf(p.parent) {
			p.before = append(p.before, remove(node, b.Name))
		}
	}
	return p
}

// begin are the actions at the point in time itself, of all disks at once.
func (t *taking) begin() []action {
	var a []action
	for _, p := range t.plans {
		a = append(a, action{"block-dirty-bitmap-add", args{
			"node": p.node, "name": bitmapOf(t.h.Point), "persistent": true, "granularity": granule,
		}})
		if p.parent != "" {
			a = append(a, action{"block-dirty-bitmap-disable", args{
				"node": p.node, "name": bitmapOf(p.parent),
			}})
		}
	}
	return a
}

// settle are the actions that end a point of a disk: its bitmap stays if the
// backup was committed, and else what it recorded goes back to the parent's.
func settle(node string, have []bitmap, point, parent compute.Point, outcome compute.Outcome) []action {
	var own, old *bitmap
	for i, b := range have {
		switch {
		case b.Name == bitmapOf(point):
			own = &have[i]
		case parent != "" && b.Name == bitmapOf(parent):
			old = &have[i]
		}
	}
	var a []action
	switch {
	case outcome == compute.Committed && old != nil:
		a = append(a, remove(node, old.Name))
	case outcome == compute.Abandoned && own != nil:
		if old != nil && !old.Inconsistent && !own.Inconsistent {
			a = append(a, mergeInto(node, old.Name, []bitmap{*own}), enable(node, old.Name))
		}
		a = append(a, remove(node, own.Name))
	}
	return a
}

func mergeInto(node, target string, from []bitmap) action {
	var names []string
	for _, b := range from {
		if b.Name != target {
			names = append(names, b.Name)
		}
	}
	return action{"block-dirty-bitmap-merge", args{"node": node, "target": target, "bitmaps": names}}
}

// mergeFrom adds what bitmaps of the same name have on other nodes.
func mergeFrom(node, name string, others []string) action {
	var from []args
	for _, other := range others {
		from = append(from, args{"node": other, "name": name})
	}
	return action{"block-dirty-bitmap-merge", args{"node": node, "target": name, "bitmaps": from}}
}

func enable(node, name string) action {
	return action{"block-dirty-bitmap-enable", args{"node": node, "name": name}}
}

func remove(node, name string) action {
	return action{"block-dirty-bitmap-remove", args{"node": node, "name": name}}
}
