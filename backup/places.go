package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"holdfast"
	"holdfast/disk"
	"holdfast/vault"
)

// Vaults opens the vaults of accounts at the places that are configured.
type Vaults interface {
	// Open opens an account's vault at the first place, where backups are made,
	// making it if it is the account's first use.
	Open(ctx context.Context, account holdfast.AccountID) (*vault.Vault, error)
	// Places names all places, the first one first.
	Places() []string
	// At opens an account's vault at a place; vault.ErrNoVault if it has none there.
	At(ctx context.Context, account holdfast.AccountID, place string) (*vault.Vault, error)
	// Twin is At, and makes a vault that is not there as a copy of the account's at
	// another place.
	Twin(ctx context.Context, account holdfast.AccountID, place string) (*vault.Vault, error)
}

// source is the place from which a backup is read: the first one that has it, and
// the next one when that fails.
type source struct {
	*Service

	op     holdfast.Operation
	left   []string // places not tried yet
	place  string
	vault  *vault.Vault
	images []vault.Image
}

// find finds the first place that has the backup.
func (s *Service) find(ctx context.Context, op holdfast.Operation) (*source, error) {
	src := &source{Service: s, op: op, left: s.Vaults.Places()}
	return src, src.next(ctx, nil)
}

// next goes on to another place after a failure, which is returned when there is
// none left. What the first place said is what counts: it is where the backup
// should be.
func (s *source) next(ctx context.Context, failed error) error {
	for len(s.left) > 0 && ctx.Err() == nil {
		place := s.left[0]
		s.left = s.left[1:]
		v, images, err := s.look(ctx, place)
		if err == nil && s.images != nil && !slices.EqualFunc(images, s.images, sameImage) {
			err = fmt.Errorf("backup: another backup of this id is at %s", place)
		}
		if err == nil {
			s.place, s.vault, s.images = place, v, images
			if failed != nil {
				s.Log.WarnContext(ctx, "the backup is read from another place", "job", s.op.ID, "backup", s.op.BackupID, "place", place, "err", failed)
			}
			return nil
		}
		if failed == nil {
			failed = err
		} else {
			s.Log.WarnContext(ctx, "the backup cannot be read from a place", "job", s.op.ID, "backup", s.op.BackupID, "place", place, "err", err)
		}
	}
	return failed
}

func (s *source) look(ctx context.Context, place string) (*vault.Vault, []vault.Image, error) {
	v, err := s.Vaults.At(ctx, s.op.AccountID, place)
	if err != nil {
		return nil, nil, err
	}
	m, err := v.Manifest(ctx, string(s.op.BackupID))
	if err != nil {
		if vault.IsDamage(err) {
			err = errManifest(err)
		}
		return nil, nil, fmt.Errorf("backup: manifest: %w", err)
	}
	return v, m.Images, nil
}

// sameImage: equal roots are equal content.
func sameImage(a, b vault.Image) bool {
	return a.Name == b.Name && a.Size == b.Size && a.Root == b.Root
}

// patch writes what is damaged at the place in use from any other place that can
// give it back. Nil: it was written.
func (s *source) patch(ctx context.Context, image vault.Image, d *vault.DamagedError, to io.WriterAt) error {
	for _, place := range s.left {
		v, images, err := s.look(ctx, place)
		if err == nil && slices.EqualFunc(images, s.images, sameImage) {
			err = fill(ctx, v, image, d, to)
			if err == nil {
				s.Log.WarnContext(ctx, "a damaged part of a backup was read from another place", "job", s.op.ID,
					"backup", s.op.BackupID, "place", place, "damaged", s.place, "err", d)
				return nil
			}
		}
		if err != nil {
			s.Log.WarnContext(ctx, "the backup cannot be read from a place", "job", s.op.ID, "backup", s.op.BackupID, "place", place, "err", err)
		}
	}
	return d
}

// patchBytes is written at once of what is read elsewhere.
const patchBytes = 1 << 20

func fill(ctx context.Context, v *vault.Vault, image vault.Image, d *vault.DamagedError, to io.WriterAt) error {
	r, err := v.OpenImage(ctx, image)
	if err != nil {
		return err
	}
	buf := make([]byte, patchBytes)
	for off, end := d.Offset, d.Offset+d.Length; off < end; {
		p := buf[:min(int64(len(buf)), end-off)]
		if _, err := r.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := to.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// target tells a disk that cannot be written from a backup that cannot be read.
type target struct {
	disk.Sink
	failed atomic.Bool
}

// WriteAt implements io.WriterAt.
func (t *target) WriteAt(p []byte, off int64) (int, error) {
	n, err := t.Sink.WriteAt(p, off)
	if err != nil {
		t.failed.Store(true)
	}
	return n, err
}

// Sync implements disk.Sink.
func (t *target) Sync(ctx context.Context) error {
	err := t.Sink.Sync(ctx)
	if err != nil {
		t.failed.Store(true)
	}
	return err
}
