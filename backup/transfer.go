package backup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"holdfast"
	"holdfast/disk"
	"holdfast/vault"
)

// The labels of a manifest: what an operator needs to know of a backup when
// only the vault is left.
const (
	labelVPS         = "vps"
	labelConsistency = "consistency"
	labelReason      = "consistencyReason"
	labelLatency     = "writeLatency" // of the VPS, JSON
	labelIncremental = "incremental"
	labelWhy         = "incrementalReason" // it is a repair
	labelPoint       = "point"
)

// transfer moves all disks of the point in time into the vault and commits.
func (b *attempt) transfer(ctx context.Context) (vault.Manifest, error) {
	var m vault.Manifest
	err := b.vault.Write(ctx, b.session(), func(ctx context.Context, s *vault.Session) error {
		k, stop := b.braking(ctx)
		defer stop()
		work, err := b.measure(ctx, k)
		if err != nil {
			return err
		}
		images, err := b.images(ctx, s, work, k)
		if err != nil {
			return err
		}
		// What was read counts only if the point in time held to the end.
		if err := b.Host.Driver.Recover(ctx, b.point.Handle); err != nil {
			return fmt.Errorf("backup: before the commit: %w", err)
		}
		labels := b.labels(ctx)
		total := work.total()
		b.run.Progress(total, total, "Committing")
		m, err = s.Commit(ctx, vault.Manifest{
			Backup: string(b.run.Operation.BackupID), CreatedAt: b.point.At, Images: images,
			Labels: labels,
		})
		if _, damaged := errors.AsType[*vault.DamagedError](err); damaged && work.inherits() {
			// What it inherits cannot be promised to last: then it inherits nothing.
			err = fmt.Errorf("%w: %w", errParent, err)
		}
		return err
	})
	return m, err
}

func (b *attempt) labels(ctx context.Context) map[string]string {
	how, why := b.incremental(ctx)
	l := map[string]string{
		labelVPS: string(b.run.Operation.VPSID), labelConsistency: b.point.Consistency,
		labelIncremental: how, labelPoint: string(b.point.Handle.Point),
	}
	if why != "" {
		l[labelWhy] = why
	}
	if b.point.Reason != "" {
		l[labelReason] = b.point.Reason
	}
	if felt := b.felt(ctx); felt != "" {
		l[labelLatency] = felt
	}
	return l
}

// braking slows what is read of the disks, until stop.
func (b *attempt) braking(ctx context.Context) (k *brake, stop func()) {
	k = b.brake()
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { k.watch(ctx) })
	return k, func() {
		cancel()
		watching.Wait()
	}
}

// session names the vault's session after the operation, so that a successor
// takes up what its predecessor sealed.
func (b *attempt) session() string { return b.run.Operation.ID.ULID() }

// images writes the disks one after the other. All stay open until the end: what
// is durable of one makes room for the others.
func (b *attempt) images(ctx context.Context, s *vault.Session, work pieces, k *brake) (images []vault.Image, err error) {
	var open []disk.Source
	defer func() {
		for _, src := range open {
			err = errors.Join(err, src.Close())
		}
	}()
	var done int64
	for _, w := range work {
		src, err := b.Host.Driver.Open(ctx, b.point.Handle, w.name)
		if err != nil {
			return nil, fmt.Errorf("backup: open %s: %w", w.name, err)
		}
		open = append(open, src)
		for _, c := range w.sampled {
			if err := b.release(ctx, src, span{c, c + 1}); err != nil {
				return nil, err
			}
		}
		image, err := b.image(ctx, s, w, src, k, func(processed int64) {
			// Chunks are read whole, so a little more may be read than was measured.
			b.meter.copying(done+min(processed, w.bytes), work.total(), "Copying "+w.name)
		})
		if err != nil {
			return nil, err
		}
		images = append(images, image)
		done += w.bytes
	}
	return images, nil
}

func (b *attempt) image(ctx context.Context, s *vault.Session, w piece, src disk.Source, k *brake, progress func(processed int64)) (vault.Image, error) {
	in := vault.ImageInput{
		Name: w.name, Size: w.size, Point: string(b.point.Handle.Point), Parent: w.parent,
		Read:   &counter{src: &braked{ctx, src, k}, tell: progress},
		Ranges: w.ranges(ctx, src),
	}
	if r, ok := src.(disk.Releaser); ok {
		in.Durable = r.Release
	}
	image, err := s.WriteImage(ctx, in)
	if _, damaged := errors.AsType[*vault.DamagedError](err); damaged || errors.Is(err, vault.ErrNoBackup) {
		err = fmt.Errorf("%w: %w", errParent, err)
	}
	if err != nil {
		return vault.Image{}, fmt.Errorf("backup: %s: %w", w.name, err)
	}
	return image, nil
}

// reportOf is what the control plane needs to know of a committed backup.
func reportOf(m vault.Manifest, chunkSize int) holdfast.BackupReport {
	r := holdfast.BackupReport{
		PointAt: m.CreatedAt, Point: m.Labels[labelPoint],
		ChangedBytes: m.Stats.ChangedBytes, TransferredBytes: m.Stats.UploadedBytes,
		Incremental: m.Labels[labelIncremental], IncrementalReason: m.Labels[labelWhy], Consistency: m.Labels[labelConsistency],
		ConsistencyReason: m.Labels[labelReason], Latency: latencyOf(m.Labels[labelLatency]),
		LockedUntil: m.RetainedUntil,
	}
	for _, i := range m.Images {
		r.SizeBytes += i.Size
		r.DataBytes += dataBytes(i, chunkSize)
	}
	return r
}
