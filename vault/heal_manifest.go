package vault

import (
	"context"
	"errors"
	"fmt"

	"holdfast/vault/blob"
	"holdfast/vault/manifest"
	"holdfast/vault/seal"
)

// lostManifest is a manifest to be put back, as another vault of the account has it.
type lostManifest struct {
	Manifest

	sealed []byte
}

// SealedManifest is Manifest with the blob's own bytes, for another vault of the
// account: they are bound to the name and the ring, not to the place.
func (v *Vault) SealedManifest(ctx context.Context, backup string) (Manifest, []byte, error) {
	m, err := v.readManifest(ctx, backup)
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("backup %s: %w", backup, err)
	}
	data, err := v.st.Get(ctx, manifestName(backup), manifest.MaxSize+seal.HeaderSize+seal.Overhead)
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("backup %s: %w", backup, err)
	}
	return m, data, nil
}

// Lost reports whether a backup's manifest is missing although neither a deleter
// nor a collector has said that the backup is no more.
func (v *Vault) Lost(ctx context.Context, backup string) (bool, error) {
	_, err := v.openManifest(ctx, backup)
	if !errors.Is(err, ErrNoBackup) {
		return false, nil // there, or damaged, or not to be read now
	}
	gone, err := v.exists(ctx, tombBackup+backup)
	return err == nil && !gone, err
}

// PutManifest puts a backup's manifest back, as SealedManifest of another vault
// gave it, when everything that was put is durable. A backup that was deleted
// here, or whose session was ended here, stays gone: ErrDeleted, ErrSessionLost.
func (h *Healing) PutManifest(ctx context.Context, m Manifest, sealed []byte) error {
	if err := h.s.v.tombstoned(ctx, m.Backup, m.Session); err != nil {
		return fmt.Errorf("backup %s: %w", m.Backup, err)
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.manifests = append(h.manifests, lostManifest{m, sealed})
	return nil
}

// putBack takes the place of a manifest that is missing or damaged. In between
// there is none; the healing's mark keeps collectors from deciding meanwhile.
func (v *Vault) putBack(ctx context.Context, m lostManifest) error {
	name := manifestName(m.Backup)
	switch _, err := v.openManifest(ctx, m.Backup); {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoBackup):
	case damage(err):
		if err := v.st.Delete(ctx, name); err != nil {
			return err
		}
	default:
		return err
	}
	if err := v.st.PutNew(ctx, name, m.sealed); err != nil && !errors.Is(err, blob.ErrExists) {
		return err
	}
	err := v.tombstoned(ctx, m.Backup, m.Session)
	if errors.Is(err, ErrDeleted) {
		return v.st.Delete(ctx, name) // by whoever comes last of the two
	}
	if errors.Is(err, ErrSessionLost) {
		return nil // it does not count, and the next collection removes it
	}
	return err
}
