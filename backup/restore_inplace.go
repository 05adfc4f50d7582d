package backup

import (
	"context"
	"fmt"

	"holdfast"
	"holdfast/compute"
	"holdfast/disk"
	"holdfast/operation"
)

// replacing is one claim of a restore in place.
type replacing struct {
	*filling

	in    holdfast.InPlaceInput
	vps   string
	disks []compute.Disk
}

// RestoreInPlace is the handler of holdfast.KindRestoreInPlace. It writes the
// backup's disks beside those in force while the VPS runs, reads every byte of
// them back, and only then stops the VPS, switches and starts it again: what is
// written before the switch is lost by a restore at any rate, and the outage is
// seconds. What it leaves when it fails is the control plane's to have dropped.
func (s *Service) RestoreInPlace(ctx context.Context, run *operation.Run) (any, error) {
	r := &replacing{vps: string(run.Operation.VPSID)}
	if err := run.Input(&r.in); err != nil {
		return nil, err
	}
	for _, d := range r.in.Disks {
		r.disks = append(r.disks, compute.Disk{Name: d.Name, SizeBytes: d.SizeBytes})
	}
	written, err := r.prepare(ctx, s, run)
	if err != nil {
		return nil, explain("backup.RestoreInPlace", err)
	}
	// The last byte is the switch's.
	power, err := s.Host.Exchange(ctx, run, r.in.Generation, r.in.Grace, func(message string) {
		run.Progress(max(2*written-1, 0), 2*written, message)
	})
	if err != nil {
		return nil, err
	}
	run.Progress(2*written, 2*written, "Restored")
	return holdfast.InPlaceReport{Power: power, BytesWritten: written}, nil
}

// prepare makes the new disks ready, and says how many bytes were written.
func (r *replacing) prepare(ctx context.Context, s *Service, run *operation.Run) (written int64, err error) {
	have, err := s.generation(ctx, r.vps, r.in.Generation)
	if err != nil {
		return 0, err
	}
	const key = "written"
	if have != nil && have.Ready {
		_, err := run.Load(key, &written)
		return written, err // a predecessor had come so far
	}
	src, err := s.find(ctx, run.Operation)
	if err != nil {
		return 0, err
	}
	r.filling = s.filling(src, run, func(ctx context.Context, disk string) (disk.Sink, error) {
		return s.Host.Regenerator.FillGeneration(ctx, r.vps, r.in.Generation, disk)
	})
	written = r.total
	r.total *= 2 // all is read back
	if have == nil {
		if err := r.make(ctx, written); err != nil {
			return 0, err
		}
	}
	for _, image := range r.images {
		if err := r.fill(ctx, image); err != nil {
			return 0, fmt.Errorf("backup: fill %s: %w", image.Name, err)
		}
	}
	for _, image := range r.images {
		if err := r.verify(ctx, image); err != nil {
			return 0, fmt.Errorf("backup: verify %s: %w", image.Name, err)
		}
	}
	if err := run.Save(ctx, key, written); err != nil {
		return 0, err
	}
	run.Progress(max(r.total-1, 0), r.total, "Making the disks ready")
	return written, s.Host.Regenerator.Ready(ctx, r.vps, r.in.Generation, r.points())
}

// generation finds one of a machine, nil if there is none of that name.
func (s *Service) generation(ctx context.Context, vps, name string) (*compute.Generation, error) {
	all, err := s.Host.Regenerator.Generations(ctx, vps)
	if err != nil {
		return nil, fmt.Errorf("backup: generations: %w", err)
	}
	for _, g := range all {
		if g.Name == name {
			return &g, nil
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// points begin the change tracking of the new disks: where they end behind the
// backup's, there are zeros.
func (r *replacing) points() map[string]compute.Point {
	if r.in.Point == "" {
		return nil
	}
	at := map[string]compute.Point{}
	for _, image := range r.images {
		at[image.Name] = compute.Point(r.in.Point)
	}
	return at
}

// reserve is how many bytes of a host's disks a restore leaves free: the VPSs go
// on writing meanwhile.
const reserve = 64 << 20

// make makes the new disks, of zeros, if there is room to fill them.
func (r *replacing) make(ctx context.Context, bytes int64) error {
	r.run.Progress(0, r.total, "Making the disks")
	if err := r.fits(); err != nil {
		return err
	}
	room, err := r.Host.Regenerator.Room(ctx, r.vps)
	if err != nil {
		return fmt.Errorf("backup: room: %w", err)
	}
	if need := bytes + reserve; room < need {
		return noRoom("backup.RestoreInPlace", need, room)
	}
	// What a predecessor has written went with the disks that are not there any more.
	if err := r.forget(ctx, r.images); err != nil {
		return err
	}
	if err := r.unverify(ctx); err != nil {
		return err
	}
	if err := r.Host.Regenerator.Prepare(ctx, r.vps, r.in.Generation, r.disks); err != nil {
		return fmt.Errorf("backup: prepare: %w", err)
	}
	return nil
}

// fits refuses disks that are not the backup's, as far as those reach.
func (r *replacing) fits() error {
	size := map[string]int64{}
	for _, d := range r.disks {
		size[d.Name] = d.SizeBytes
	}
	for _, image := range r.images {
		if size[image.Name] < image.Size {
			return fmt.Errorf("backup: %s of the backup has %d bytes, the disk %d", image.Name, image.Size, size[image.Name])
		}
	}
	if len(size) != len(r.images) {
		return fmt.Errorf("backup: %d disks for %d images", len(size), len(r.images))
	}
	return nil
}
