package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/compute"
)

// settled makes the list of layers, their files and the process that has them
// open agree, whatever was cut off, and ends what a former call left at work. The
// caller has the lock, and no point in time is open.
func (d *Driver) settled(ctx context.Context, m compute.Machine) (layers, error) {
	p, alive, err := d.running(m.ID)
	if err != nil {
		return nil, err
	}
	if !alive {
		if err := d.shut(ctx, layerDaemon(m.ID)); err != nil {
			return nil, err
		}
		return d.settleIn(ctx, m, nil)
	}
	s, err := d.connect(ctx, m.ID, p)
	if err != nil {
		if _, err := p.endedOr(ctx, err); err != nil {
			return nil, err
		}
		return d.settleIn(ctx, m, nil)
	}
	defer s.Close() //nolint:errcheck // never fails
	if err := s.cancelFolds(ctx); err != nil {
		return nil, err
	}
	return d.settleIn(ctx, m, s)
}

// settleIn does settled with the process that has the disks open, nil for none.
func (d *Driver) settleIn(ctx context.Context, m compute.Machine, s *session) (layers, error) {
	l, err := d.layers(m.ID, current)
	if err != nil {
		return nil, err
	}
	if last := len(l) - 1; last >= 0 && l[last].Pending != nil {
		if l[last].Snapshot != nil {
			d.thawAfter(ctx, s, m)
		}
		if l, err = decide(ctx, s, l); err != nil {
			return nil, err
		}
		if err := d.putLayers(m.ID, l); err != nil {
			return nil, err
		}
	}
	if s != nil {
		s.layers = l
		if err := s.dropLayers(ctx, l); err != nil {
			return nil, err
		}
	}
	return l, d.removeLayerFiles(m.ID, l)
}

// thawAfter thaws a guest that may have been frozen for a snapshot that was cut
// off, in case the watchdog died too.
func (d *Driver) thawAfter(ctx context.Context, s *session, m compute.Machine) {
	if s == nil || !s.live {
		return
	}
	if why, err := d.whyNotFreeze(ctx, s); err == nil && why == "" {
		d.thaw(m.ID)
	}
}

// decide settles whether the last layer, which is pending, is one.
func decide(ctx context.Context, s *session, l layers) (layers, error) {
	y := &l[len(l)-1]
	if s == nil || s.proc != *y.Pending {
		// That process may have written to it before it ended, or not: the layer is
		// right in both cases, the snapshot only in one.
		y.Pending, y.Snapshot = nil, nil
		return l, nil
	}
	in, err := s.writesTo(ctx, *y)
	if err != nil {
		return nil, err
	}
	if !in {
		return l[:len(l)-1], nil
	}
	y.Pending = nil
	if y.Snapshot != nil {
		y.Snapshot.Frozen = false // it may have been; the guest's word was not heard
	}
	return l, nil
}

// writesTo says whether a layer is on top of its disks: one that is open and not
// yet there has nothing below it. One transaction is for all disks.
func (s *session) writesTo(ctx context.Context, y layer) (bool, error) {
	var list []struct {
		Name  string `json:"node-name"`
		Depth int    `json:"backing_file_depth"`
	}
	// Not flat, which would leave the depth at 0.
	if err := s.Execute(ctx, "query-named-block-nodes", args{"flat": false}, &list); err != nil {
		return false, err
	}
	for _, n := range list {
		if n.Name == y.node(y.Disks[0]) {
			return n.Depth > 0, nil
		}
	}
	return false, nil
}

// dropLayers closes the layers that are not of l, and forgets the jobs on them.
func (s *session) dropLayers(ctx context.Context, l layers) error {
	jobs, err := s.folds(ctx)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if j.Status == "concluded" && !slices.ContainsFunc(l, func(y layer) bool { return y.Name == j.layer }) {
			if err := s.Execute(ctx, "job-dismiss", args{"id": j.ID}, nil); err != nil {
				return err
			}
		}
	}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	for name := range nodes {
		part := layerNode.FindStringSubmatch(name)
		if part == nil || slices.ContainsFunc(l, func(y layer) bool { return y.Name == part[1] }) {
			continue
		}
		if err := s.delNode(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// cancelFolds ends what writes layers into those below, and returns when it has
// ended. What is finished stays as it is.
func (s *session) cancelFolds(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	for {
		jobs, err := s.folds(ctx)
		if err != nil {
			return err
		}
		working := false
		for _, j := range jobs {
			switch j.Status {
			case "concluded":
				if j.Error != "" {
					err = s.Execute(ctx, "job-dismiss", args{"id": j.ID}, nil)
				}
			case "aborting":
				working = true
			default:
				working = true
				err = s.Execute(ctx, "job-cancel", args{"id": j.ID}, nil)
			}
			if err != nil {
				return err
			}
		}
		if !working {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("qemu: work on layers does not end: %w", errors.Join(compute.ErrBusy, ctx.Err()))
		case <-time.After(5 * time.Millisecond): // the end of a job is short after its cancellation
		}
	}
}
