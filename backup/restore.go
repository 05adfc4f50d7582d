package backup

import (
	"context"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/compute"
	"holdfast/disk"
	"holdfast/operation"
	"holdfast/vault"
)

// checkpoint is how many bytes of a disk are written between two durable
// checkpoints of a restore: what a killed one does again at most.
const checkpoint = 256 << 20

// Restore is the handler of holdfast.KindRestoreToPayg: it makes the operation's
// VPS, fills its disks from the backup and starts it. The source is not touched.
func (s *Service) Restore(ctx context.Context, run *operation.Run) (any, error) {
	var in holdfast.RestoreInput
	if err := run.Input(&in); err != nil {
		return nil, err
	}
	report, err := s.restore(ctx, run, in)
	if err != nil {
		// What there is of the machine stays for the next attempt; when there is
		// none, the control plane deletes the VPS like any other.
		return nil, explain("backup.Restore", err)
	}
	return report, nil
}

func (s *Service) restore(ctx context.Context, run *operation.Run, in holdfast.RestoreInput) (holdfast.RestoreReport, error) {
	op := run.Operation
	src, err := s.find(ctx, op)
	if err != nil {
		return holdfast.RestoreReport{}, err
	}
	images := src.images
	f := s.filling(src, run, func(ctx context.Context, disk string) (disk.Sink, error) {
		return s.Host.Provisioner.Fill(ctx, string(op.VPSID), disk)
	})
	f.grows = true
	run.Progress(0, f.total, "Making the disks")
	if err := f.anew(ctx, images); err != nil {
		return holdfast.RestoreReport{}, err
	}
	ports, err := s.Host.Define(ctx, op.VPSID, in.Machine)
	if err != nil {
		return holdfast.RestoreReport{}, err
	}
	for _, image := range images {
		if err := f.fill(ctx, image); err != nil {
			return holdfast.RestoreReport{}, fmt.Errorf("backup: fill %s: %w", image.Name, err)
		}
	}
	run.Progress(f.total, f.total, "Starting the Cloud VM")
	if err := s.Host.Provisioner.Start(ctx, string(op.VPSID)); err != nil {
		return holdfast.RestoreReport{}, fmt.Errorf("backup: start: %w", err)
	}
	return holdfast.RestoreReport{
		MachineReport: holdfast.MachineReport{Power: holdfast.PowerRunning, Ports: ports},
		BytesWritten:  f.total,
		Growth:        f.growth,
	}, nil
}

// filling is the work on the disks of one restore.
type filling struct {
	*source
	run   *operation.Run
	open  func(ctx context.Context, disk string) (disk.Sink, error)
	done  int64 // bytes of the work that is finished
	total int64 // bytes of all work
	// grows is set when larger disks get larger partitions, growth what came of it.
	grows  bool
	growth []holdfast.DiskGrowth
}

// filling is to write all disks of a backup.
func (*Service) filling(src *source, run *operation.Run, open func(context.Context, string) (disk.Sink, error)) *filling {
	f := &filling{source: src, run: run, open: open}
	for _, image := range src.images {
		f.total += f.bytes(image)
	}
	return f
}

// bytes is how much a disk takes to write; zeros are not written.
func (f *filling) bytes(image vault.Image) int64 { return dataBytes(image, f.vault.Params().ChunkSize) }

func dataBytes(image vault.Image, chunkSize int) int64 {
	return min(int64(image.Chunks)*int64(chunkSize), image.Size) // #nosec G115 -- bounded by the manifest's rules
}

// filled is the journal's record of one disk.
type filled struct {
	Offset int64 `json:"offset"` // durable up to here
	Done   bool  `json:"done"`
	// Growth of a disk that is done and larger than the backup's.
	Growth *holdfast.DiskGrowth `json:"growth,omitempty"`
}

// anew forgets what a predecessor has written when its machine is not there any
// more: what is defined now begins with zeros.
func (f *filling) anew(ctx context.Context, images []vault.Image) error {
	_, err := f.Host.Driver.Inspect(ctx, string(f.run.Operation.VPSID))
	if !errors.Is(err, compute.ErrNotFound) {
		return err
	}
	return f.forget(ctx, images)
}

// forget journals that nothing is written yet.
func (f *filling) forget(ctx context.Context, images []vault.Image) error {
	for _, image := range images {
		found, err := f.run.Load(diskKey(image), &filled{})
		if err != nil {
			return err
		}
		if found {
			if err := f.run.Save(ctx, diskKey(image), filled{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// diskKey is the journal's key of one disk.
func diskKey(image vault.Image) string { return "disk/" + image.Name }

// fill writes one disk, from where a predecessor's last checkpoint was.
func (f *filling) fill(ctx context.Context, image vault.Image) error {
	key := diskKey(image)
	var at filled
	if _, err := f.run.Load(key, &at); err != nil {
		return err
	}
	if !at.Done {
		if err := f.writeFromAny(ctx, key, image, &at); err != nil {
			return err
		}
		if err := f.run.Save(ctx, key, filled{Done: true, Growth: at.Growth}); err != nil {
			return err
		}
	}
	if at.Growth != nil {
		f.growth = append(f.growth, *at.Growth)
	}
	f.done += f.bytes(image)
	return nil
}

// writeFromAny goes on from another place where one fails, as far as it had come.
func (f *filling) writeFromAny(ctx context.Context, key string, image vault.Image, at *filled) error {
	for {
		final, err := f.write(ctx, key, image, at)
		if err == nil || final || ctx.Err() != nil {
			return err
		}
		if err := f.next(ctx, err); err != nil {
			return err
		}
	}
}

// write is final when it was not the backup that failed, or it was and no other
// place could mend it.
func (f *filling) write(ctx context.Context, key string, image vault.Image, at *filled) (final bool, err error) {
	r, err := f.vault.OpenImage(ctx, image)
	if err != nil {
		return false, err
	}
	sink, err := f.open(ctx, image.Name)
	if err != nil {
		return true, err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	to := &target{Sink: sink}
	err = r.Restore(ctx, to, vault.RestoreOptions{
		From: at.Offset,
		Progress: func(done, left int64) {
			f.run.Progress(f.done+max(0, f.bytes(image)-left)+done, f.total, "Writing "+image.Name)
		},
		Damaged: func(d *vault.DamagedError) error { return f.patch(ctx, image, d, to) },
		Checkpoint: func(offset int64) error {
			if offset-at.Offset < checkpoint {
				return nil
			}
			if err := to.Sync(ctx); err != nil {
				return err
			}
			at.Offset = offset
			return f.run.Save(ctx, key, *at)
		},
	})
	if err != nil {
		_, damaged := errors.AsType[*vault.DamagedError](err)
		return damaged || to.failed.Load(), err
	}
	if f.grows && sink.Size() > image.Size {
		if at.Growth, err = grow(r, image, to); err != nil {
			return to.failed.Load(), err
		}
	}
	return true, sink.Sync(ctx)
}
