package backup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"holdfast"
	"holdfast/compute"
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
	labelPoint       = "point"
)

// transfer moves all disks of the point in time into the vault and commits.
func (b *attempt) transfer(ctx context.Context) (vault.Manifest, error) {
	var m vault.Manifest
	err := b.vault.Write(ctx, b.session(), func(ctx context.Context, s *vault.Session) error {
		work, err := b.measure(ctx)
		if err != nil {
			return err
		}
		images, err := b.images(ctx, s, work)
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
	l := map[string]string{
		labelVPS: string(b.run.Operation.VPSID), labelConsistency: b.point.Consistency,
		labelIncremental: b.incremental(), labelPoint: string(b.point.Handle.Point),
	}
	if b.point.Reason != "" {
		l[labelReason] = b.point.Reason
	}
	if felt := b.felt(ctx); felt != "" {
		l[labelLatency] = felt
	}
	return l
}

// session names the vault's session after the operation, so that a successor
// takes up what its predecessor sealed.
func (b *attempt) session() string { return b.run.Operation.ID.ULID() }

// images writes the disks one after the other. All stay open until the end: what
// is durable of one makes room for the others.
func (b *attempt) images(ctx context.Context, s *vault.Session, work pieces) (images []vault.Image, err error) {
	var open []disk.Source
	defer func() {
		for _, src := range open {
			err = errors.Join(err, src.Close())
		}
	}()
	var done int64
	k := b.brake()
	wctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { k.watch(wctx) })
	defer func() {
		stop()
		watching.Wait()
	}()
	for _, w := range work {
		src, err := b.Host.Driver.Open(ctx, b.point.Handle, w.name)
		if err != nil {
			return nil, fmt.Errorf("backup: open %s: %w", w.name, err)
		}
		open = append(open, src)
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

// piece is one disk to be copied.
type piece struct {
	name   string
	size   int64
	parent *vault.Parent
	bytes  int64 // to be read
}

// pieces are all disks of a backup.
type pieces []piece

// total is how many bytes are to be read.
func (p pieces) total() int64 {
	var n int64
	for _, w := range p {
		n += w.bytes
	}
	return n
}

// inherits reports whether any disk is relative to a parent.
func (p pieces) inherits() bool {
	return slices.ContainsFunc(p, func(w piece) bool { return w.parent != nil })
}

// measure finds how much there is to do, so that the progress is honest.
func (b *attempt) measure(ctx context.Context) (pieces, error) {
	var work pieces
	for _, d := range b.point.Handle.Disks {
		parent, err := b.parent(ctx, d)
		if err != nil {
			return nil, err
		}
		w := piece{name: d.Name, size: d.SizeBytes, parent: parent}
		err = b.open(ctx, d.Name, func(src disk.Source) error {
			for e, err := range src.Extents(ctx) {
				switch {
				case err != nil:
					return err
				case e.Clean:
					if err := b.release(ctx, src, e); err != nil {
						return err
					}
				case !e.Zero:
					w.bytes += e.Length
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		work = append(work, w)
	}
	return work, nil
}

// release says of a clean extent that it will not be read, so that no copy is
// kept of what the guest overwrites there. Only whole chunks are released: one
// that is changed in part is read whole.
func (b *attempt) release(ctx context.Context, src disk.Source, e disk.Extent) error {
	chunk := int64(b.vault.Params().ChunkSize)
	from, to := (e.Offset+chunk-1)/chunk*chunk, e.End()/chunk*chunk
	if e.End() == src.Size() {
		to = e.End()
	}
	if from >= to {
		return nil
	}
	if err := src.Discard(ctx, from, to-from); err != nil {
		return fmt.Errorf("backup: release: %w", err)
	}
	return nil
}

// parent is the image that a disk's extents are relative to; nil when it has to
// be read whole. To take a wrong one, or none, for a disk that is only read in
// part would make a backup of rubbish.
func (b *attempt) parent(ctx context.Context, d compute.HandleDisk) (*vault.Parent, error) {
	if d.Parent == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	for _, p := range b.in.Parents {
		if p.Point == string(d.Parent) {
			return &vault.Parent{Backup: string(p.ID), Image: d.Name}, b.usable(ctx, p)
		}
	}
	return nil, fmt.Errorf("%w: no backup began with %s", errParent, d.Parent)
}

func (b *attempt) image(ctx context.Context, s *vault.Session, w piece, src disk.Source, k *brake, progress func(processed int64)) (vault.Image, error) {
	in := vault.ImageInput{
		Name: w.name, Size: w.size, Point: string(b.point.Handle.Point), Parent: w.parent,
		Read:   &counter{src: &braked{ctx, src, k}, tell: progress},
		Ranges: ranges(ctx, src),
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

// open opens a disk of the point in time for the length of use.
func (b *attempt) open(ctx context.Context, name string, use func(disk.Source) error) (err error) {
	src, err := b.Host.Driver.Open(ctx, b.point.Handle, name)
	if err != nil {
		return fmt.Errorf("backup: open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return use(src)
}

// ranges are what the vault must read of a disk: all that is not known to be as
// in the parent.
func ranges(ctx context.Context, src disk.Source) iter.Seq2[vault.Range, error] {
	return func(yield func(vault.Range, error) bool) {
		for e, err := range src.Extents(ctx) {
			if err == nil && e.Clean {
				continue
			}
			if !yield(vault.Range{Offset: e.Offset, Length: e.Length, Zero: e.Zero}, err) || err != nil {
				return
			}
		}
	}
}

// incremental says how the backup came about, for the backup as a whole: one
// disk read without need makes it a repair.
func (b *attempt) incremental() string {
	how := holdfast.IncrementalDelta
	for _, d := range b.point.Handle.Disks {
		if d.Parent != "" {
			continue
		}
		if b.in.Earlier == "" {
			return holdfast.IncrementalFull
		}
		how = holdfast.IncrementalFixed
	}
	return how
}

// reportOf is what the control plane needs to know of a committed backup.
func reportOf(m vault.Manifest, chunkSize int) holdfast.BackupReport {
	r := holdfast.BackupReport{
		PointAt: m.CreatedAt, Point: m.Labels[labelPoint],
		ChangedBytes: m.Stats.ChangedBytes, TransferredBytes: m.Stats.UploadedBytes,
		Incremental: m.Labels[labelIncremental], Consistency: m.Labels[labelConsistency],
		ConsistencyReason: m.Labels[labelReason], Latency: latencyOf(m.Labels[labelLatency]),
		LockedUntil: m.RetainedUntil,
	}
	for _, i := range m.Images {
		r.SizeBytes += i.Size
		r.DataBytes += dataBytes(i, chunkSize)
	}
	return r
}
