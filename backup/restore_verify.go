package backup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"holdfast"
	"holdfast/disk"
	"holdfast/vault"
)

// verified is the journal's record of a disk that was read back.
func verifiedKey(image vault.Image) string { return "verified/" + image.Name }

// unverify journals that nothing was read back yet.
func (r *replacing) unverify(ctx context.Context) error {
	for _, image := range r.images {
		var done bool
		if _, err := r.run.Load(verifiedKey(image), &done); err != nil {
			return err
		}
		if done {
			if err := r.run.Save(ctx, verifiedKey(image), false); err != nil {
				return err
			}
		}
	}
	return nil
}

// verify reads a disk back and proves that it is the backup's, with zeros behind
// its end.
func (r *replacing) verify(ctx context.Context, image vault.Image) error {
	var done bool
	if _, err := r.run.Load(verifiedKey(image), &done); err != nil {
		return err
	}
	if !done {
		err := r.readBack(ctx, image)
		if errors.Is(err, vault.ErrDiffers) {
			// The next try begins anew: who knows what else is wrong.
			return errors.Join(differs(err), r.Host.Regenerator.Drop(ctx, r.vps, r.in.Generation))
		}
		if err != nil {
			return err
		}
		if err := r.run.Save(ctx, verifiedKey(image), true); err != nil {
			return err
		}
	}
	r.done += r.bytes(image)
	return nil
}

// differs is tried again: the host's disk gave back other bytes than it was given.
func differs(err error) error {
	return holdfast.Wrap(holdfast.CodeInternal, "backup.verify", "What was written to the host's disk could not be read back as it was, so the VPS keeps its disks. Ask the operator to look at the host's disks.", err)
}

func (r *replacing) readBack(ctx context.Context, image vault.Image) (err error) {
	src, err := r.Host.Regenerator.OpenGeneration(ctx, r.vps, r.in.Generation, image.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	known, err := zerosOf(ctx, src)
	if err != nil {
		return err
	}
	// The tree of the image may be damaged at one place, and read at another.
	for _, place := range r.Vaults.Places() {
		v, images, lerr := r.look(ctx, place)
		if lerr == nil {
			lerr = r.compare(ctx, v, images, image, src, known)
		}
		if lerr == nil {
			return r.tail(image, src, known)
		}
		if errors.Is(lerr, vault.ErrDiffers) || ctx.Err() != nil {
			return lerr
		}
		if err == nil {
			err = lerr
		}
	}
	return err
}

func (r *replacing) compare(ctx context.Context, v *vault.Vault, images []vault.Image, want vault.Image, src disk.Source, known *zeros) error {
	for _, image := range images {
		if !sameImage(image, want) {
			continue
		}
		reader, err := v.OpenImage(ctx, image)
		if err != nil {
			return err
		}
		return reader.Verify(ctx, src, vault.VerifyOptions{Zero: known.all, Progress: func(done, _ int64) {
			r.run.Progress(r.done+done, r.total, "Verifying "+want.Name)
		}})
	}
	return fmt.Errorf("backup: another backup of this id: %w", vault.ErrNoBackup)
}

// tail proves that a disk is zeros behind the backup's end.
func (*replacing) tail(image vault.Image, src disk.Source, known *zeros) error {
	buf := make([]byte, patchBytes)
	for off := image.Size; off < src.Size(); off += patchBytes {
		p := buf[:min(patchBytes, src.Size()-off)]
		if known.all(off, int64(len(p))) {
			continue
		}
		if n, err := src.ReadAt(p, off); n < len(p) && err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for _, b := range p {
			if b != 0 {
				return fmt.Errorf("backup: %w: %s is not zeros behind byte %d", vault.ErrDiffers, image.Name, off)
			}
		}
	}
	return nil
}

// zeros are the ranges of a disk that are known to read as zeros: the disk's own
// word, as that of its every byte is.
type zeros struct{ ranges []disk.Extent }

// maxZeros bounds how many ranges are remembered; what lies behind is read.
const maxZeros = 1 << 20

func zerosOf(ctx context.Context, src disk.Source) (*zeros, error) {
	z := &zeros{}
	for e, err := range src.Extents(ctx) {
		if err != nil {
			return nil, err
		}
		if e.Zero && len(z.ranges) < maxZeros {
			z.ranges = append(z.ranges, e)
		}
	}
	return z, nil
}

// all says whether all of a range is known to be zeros.
func (z *zeros) all(off, length int64) bool {
	lo, hi := 0, len(z.ranges)
	for lo < hi { // the first range that ends behind off
		if mid := (lo + hi) / 2; z.ranges[mid].End() > off {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo < len(z.ranges) && z.ranges[lo].Offset <= off && off+length <= z.ranges[lo].End()
}
