package backup

import (
	"context"
	"errors"
	"fmt"

	"holdfast"
	"holdfast/compute"
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
	v, err := s.Vaults.Open(ctx, op.AccountID)
	if err != nil {
		return holdfast.RestoreReport{}, err
	}
	m, err := v.Manifest(ctx, string(op.BackupID))
	if err != nil {
		if vault.IsDamage(err) {
			return holdfast.RestoreReport{}, errManifest(err)
		}
		return holdfast.RestoreReport{}, fmt.Errorf("backup: manifest: %w", err)
	}
	f := &filling{Service: s, run: run, vault: v}
	for _, image := range m.Images {
		f.total += f.bytes(image)
	}
	run.Progress(0, f.total, "Making the disks")
	if err := f.anew(ctx, m.Images); err != nil {
		return holdfast.RestoreReport{}, err
	}
	ports, err := s.Host.Define(ctx, op.VPSID, in.Machine)
	if err != nil {
		return holdfast.RestoreReport{}, err
	}
	for _, image := range m.Images {
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
	}, nil
}

// filling is the work on the disks of one restore.
type filling struct {
	*Service
	run   *operation.Run
	vault *vault.Vault
	done  int64 // bytes of the disks that are finished
	total int64
}

// bytes is how much a disk takes to write; zeros are not written.
func (f *filling) bytes(image vault.Image) int64 {
	return min(int64(image.Chunks)*int64(f.vault.Params().ChunkSize), image.Size) // #nosec G115 -- bounded by the manifest's rules
}

// filled is the journal's record of one disk.
type filled struct {
	Offset int64 `json:"offset"` // durable up to here
	Done   bool  `json:"done"`
}

// anew forgets what a predecessor has written when its machine is not there any
// more: what is defined now begins with zeros.
func (f *filling) anew(ctx context.Context, images []vault.Image) error {
	_, err := f.Host.Driver.Inspect(ctx, string(f.run.Operation.VPSID))
	if !errors.Is(err, compute.ErrNotFound) {
		return err
	}
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
		if err := f.write(ctx, key, image, at.Offset); err != nil {
			return err
		}
		if err := f.run.Save(ctx, key, filled{Done: true}); err != nil {
			return err
		}
	}
	f.done += f.bytes(image)
	return nil
}

func (f *filling) write(ctx context.Context, key string, image vault.Image, from int64) (err error) {
	r, err := f.vault.OpenImage(ctx, image)
	if err != nil {
		return err
	}
	sink, err := f.Host.Provisioner.Fill(ctx, string(f.run.Operation.VPSID), image.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	saved := from
	err = r.Restore(ctx, sink, vault.RestoreOptions{
		From: from,
		Progress: func(done, left int64) {
			f.run.Progress(f.done+max(0, f.bytes(image)-left)+done, f.total, "Writing "+image.Name)
		},
		Checkpoint: func(offset int64) error {
			if offset-saved < checkpoint {
				return nil
			}
			saved = offset
			if err := sink.Sync(ctx); err != nil {
				return err
			}
			return f.run.Save(ctx, key, filled{Offset: offset})
		},
	})
	if err != nil {
		return err
	}
	return sink.Sync(ctx)
}
