package qemu

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"holdfast/compute"
)

// fold is the job that writes one disk's layer into the one below.
type fold struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  string `json:"error"`
	Done   int64  `json:"current-progress"`
	Total  int64  `json:"total-progress"`
	layer  string
}

// err is what ended the job. A layer is only ever written into the one below where
// there is room for it, and tried again.
func (j fold) err() error {
	return saidNoSpace(j.Error, fmt.Errorf("%s: %.500s", j.ID, j.Error))
}

var foldJob = regexp.MustCompile(`^hfj-([0-9a-f]{8})-[a-z0-9]{1,16}$`)

func foldID(layer, disk string) string { return "hfj-" + layer + "-" + disk }

// folds are the jobs that are ours, by id.
func (s *session) folds(ctx context.Context) (map[string]fold, error) {
	var list []fold
	if err := s.Execute(ctx, "query-jobs", nil, &list); err != nil {
		return nil, err
	}
	jobs := map[string]fold{}
	for _, j := range list {
		if part := foldJob.FindStringSubmatch(j.ID); part != nil {
			j.layer = part[1]
			jobs[j.ID] = j
		}
	}
	return jobs, nil
}

// RemoveSnapshot gives a snapshot up. It is gone when the list does not name it
// any more; what it kept apart is then written into one, layer by layer. The layer
// that the guest writes to never is: a new one is put on it first. So the guest
// never writes to what is being written to, there is no instant at which it has to
// change over, and the list may name a layer or not once that is written down:
// the bytes are the same.
func (d *Driver) RemoveSnapshot(ctx context.Context, id, snapshot string, progress func(done, total int64)) error {
	if err := d.disown(ctx, id, snapshot); err != nil {
		return err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	ended := 0
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		over, err := d.foldSome(ctx, id, progress)
		switch {
		case errors.Is(err, errEnded) && ended < 3:
			ended++ // the machine was stopped or started meanwhile
		case err != nil:
			return err
		case over:
			return nil
		}
		// The lock is free meanwhile: a machine can be stopped at any time.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait): // a job's progress has no event
		}
	}
}

// disown takes a snapshot out of the list.
func (d *Driver) disown(ctx context.Context, id, snapshot string) (err error) {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.idle(id); err != nil {
		return err
	}
	l, err := d.settled(ctx, m)
	at := l.above(snapshot)
	if err != nil || at < 0 {
		return err
	}
	if at == len(l)-1 {
		s, err := d.attachLayers(ctx, m)
		if err != nil {
			return err
		}
		defer s.Close() //nolint:errcheck // never fails
		if err := d.push(ctx, s, m, nil); err != nil {
			return fmt.Errorf("qemu: removing a snapshot of %s: %w", id, err)
		}
		l = s.layers
	}
	l = slices.Clone(l)
	l[at].Snapshot = nil
	if err := d.putLayers(id, l); err != nil {
		return err
	}
	d.at("qemu.fold.disowned")
	return nil
}

// errEnded: the process that has the disks open went away during a conversation.
var errEnded = errors.New("qemu: the process ended")

// foldSome brings the work on the layers of no snapshot one step further, and
// says whether there is none left.
func (d *Driver) foldSome(ctx context.Context, id string, progress func(done, total int64)) (over bool, err error) {
	m, unlock, err := d.enter(ctx, id)
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := d.idle(id); err != nil {
		return false, err
	}
	l, err := d.layers(id, current)
	if err != nil {
		return false, err
	}
	at := slices.IndexFunc(l, func(y layer) bool { return y.Snapshot == nil })
	if at < 0 || at == len(l)-1 {
		_, alive, err := d.running(id)
		if err == nil && !alive {
			err = d.shut(ctx, layerDaemon(id))
		}
		return true, err
	}
	s, err := d.attachLayers(ctx, m)
	if err != nil {
		return false, err
	}
	defer s.Close() //nolint:errcheck // never fails
	if err := d.foldLayer(ctx, s, m, at, progress); err != nil {
		if _, eerr := s.proc.endedOr(ctx, err); eerr == nil {
			err = errors.Join(errEnded, err)
		}
		return false, fmt.Errorf("qemu: layers of %s: %w", id, err)
	}
	return false, nil
}

// foldLayer brings the jobs of one layer further, one of each disk. When all are
// concluded the list forgets the layer; until then their jobs stay, and tell a
// successor so.
func (d *Driver) foldLayer(ctx context.Context, s *session, m compute.Machine, at int, progress func(done, total int64)) error {
	y := s.layers[at]
	jobs, err := s.folds(ctx)
	if err != nil {
		return err
	}
	all := true
	var done, total int64
	for _, dk := range m.Disks {
		if !slices.Contains(y.Disks, dk.Name) {
			continue
		}
		j, found := jobs[foldID(y.Name, dk.Name)]
		const most = 1 << 50 // numbers are the hypervisor's word
		done, total = done+min(max(j.Done, 0), most), total+min(max(j.Total, 0), most)
		if found && j.Status == "concluded" && j.Error == "" {
			continue
		}
		all = false
		switch {
		case !found:
			err = s.startFold(ctx, y, dk.Name, d.foldSpeed)
			d.at("qemu.fold.begun")
		case j.Status == "pending":
			err = s.carry(ctx, y, dk.Name)
			if err == nil {
				d.at("qemu.fold.carried")
				err = s.Execute(ctx, "job-finalize", args{"id": j.ID}, nil)
			}
		case j.Status == "concluded":
			err = errors.Join(j.err(), s.Execute(ctx, "job-dismiss", args{"id": j.ID}, nil))
		}
		if err != nil {
			return err
		}
	}
	progress(min(done, total), total)
	if !all {
		return nil
	}
	d.at("qemu.fold.concluded")
	for _, disk := range y.Disks { // it is about to be the only one that has it
		below, err := s.layers.below(y, disk)
		if err != nil {
			return err
		}
		if err := syncFile(d.path(m.ID, current, disk, below)); err != nil {
			return err
		}
	}
	rest := slices.Delete(slices.Clone(s.layers), at, at+1)
	if err := d.putLayers(m.ID, rest); err != nil {
		return err
	}
	d.at("qemu.fold.forgotten")
	if err := s.dropLayers(ctx, rest); err != nil {
		return err
	}
	return d.removeLayerFiles(m.ID, rest)
}

// startFold begins to write a layer, which nobody writes to, into the one below.
// The job waits for us before it ends, as long as which the one below is open for
// writing.
func (s *session) startFold(ctx context.Context, y layer, disk string, speed int64) error {
	below, err := s.layers.below(y, disk)
	if err != nil {
		return err
	}
	return s.Execute(ctx, "block-commit", args{
		"job-id": foldID(y.Name, disk), "device": s.layers.top(disk), "top-node": y.node(disk), "base-node": below.node(disk),
		"speed": speed, "auto-finalize": false, "auto-dismiss": false,
	}, nil)
}

// below is the layer below one on a disk, nil for the disk's first file.
func (l layers) below(y layer, disk string) (*layer, error) {
	own := l.of(disk)
	at := slices.IndexFunc(own, func(o layer) bool { return o.Name == y.Name })
	switch {
	case at < 0 || at == len(own)-1:
		return nil, fmt.Errorf("layer %s of %s is not between others", y.Name, disk)
	case at == 0:
		return nil, nil
	}
	return &own[at-1], nil
}

// carry gives the bitmaps that began in a layer to the one below, which has its
// content now. One that went on from there has recorded what was written, and so
// all that the layer's had. Where the layer has any, others below are of older
// backups, and go.
func (s *session) carry(ctx context.Context, y layer, disk string) error {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	below, err := s.layers.below(y, disk)
	if err != nil {
		return err
	}
	return s.transaction(ctx, carried(y, disk, below.node(disk), nodes[y.node(disk)], nodes[below.node(disk)]))
}

func carried(y layer, disk, target string, from, have []bitmap) []action {
	var actions []action
	named := func(list []bitmap, name string) *bitmap {
		for i, b := range list {
			if b.Name == name {
				return &list[i]
			}
		}
		return nil
	}
	whole := func(b bitmap) bool { return b.Recording && !b.Inconsistent }
	some := slices.ContainsFunc(from, whole)
	for _, b := range have {
		if up := named(from, b.Name); !whole(b) || some && (up == nil || !whole(*up)) {
			actions = append(actions, remove(target, b.Name))
		}
	}
	for _, b := range from {
		if !whole(b) || slices.Contains(y.Tracks[disk], b.Name) {
			continue
		}
		if old := named(have, b.Name); old != nil && whole(*old) {
			continue // by us, before we were cut off
		}
		actions = append(actions, action{"block-dirty-bitmap-add", args{
			"node": target, "name": b.Name, "persistent": true, "granularity": granule,
		}}, mergeFrom(target, b.Name, []string{y.node(disk)}))
	}
	return actions
}
