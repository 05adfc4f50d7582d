package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/manifest"
	"holdfast/vault/seal"
)

// Lost reports whether a backup's manifest is missing although nobody has said
// that the backup is deleted.
func (v *Vault) Lost(ctx context.Context, backup string) (bool, error) {
	if err := CheckID(backup); err != nil {
		return false, err
	}
	if _, err := v.openManifest(ctx, backup); err == nil || damage(err) {
		return false, nil // it is there
	} else if !errors.Is(err, ErrNoBackup) {
		return false, err
	}
	gone, err := v.exists(ctx, tombBackup+backup)
	return err == nil && !gone, err
}

// PutManifest puts a backup's manifest back, as another vault of the account has
// it, when everything that was put is durable. A backup that was deleted here, or
// whose session was ended here, stays gone: ErrDeleted, ErrSessionLost.
func (h *Healing) PutManifest(ctx context.Context, m Manifest) error {
	if err := h.s.v.tombstoned(ctx, m.Backup, m.Session); err != nil {
		return fmt.Errorf("backup %s: %w", m.Backup, err)
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.manifests = append(h.manifests, m)
	return nil
}

// putBack takes the place of a manifest that is missing or damaged. In between
// there is none; the healing's mark keeps collectors from deciding meanwhile.
func (h *Healing) putBack(ctx context.Context, m Manifest) error {
	v, name := h.s.v, manifestName(m.Backup)
	switch _, err := v.openManifest(ctx, m.Backup); {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoBackup):
	case damage(err):
		if err := v.st.Delete(ctx, name); err != nil {
			return fmt.Errorf("replace damaged manifest: %w", err)
		}
	default:
		return err
	}
	if err := h.put(ctx, name, m); err != nil && !errors.Is(err, blob.ErrExists) {
		return err
	}
	err := v.tombstoned(ctx, m.Backup, m.Session)
	if errors.Is(err, ErrDeleted) {
		return v.bury(ctx, m.Backup) // by whoever comes last of the two
	}
	if errors.Is(err, ErrSessionLost) {
		return nil // it does not count, and the next collection removes it
	}
	return err
}

// put seals the manifest and puts it, retained if the place retains: then all that
// it needs is retained first. A backup of which something stays lost is promised
// to nobody.
func (h *Healing) put(ctx context.Context, name string, m Manifest) error {
	v := h.s.v
	if place := blob.AsRetainer(v.st); place == nil || place.Retention() == 0 {
		m.RetainedUntil = time.Time{}
	}
	place, err := h.s.retain(ctx, &m)
	if _, ok := errors.AsType[*DamagedError](err); ok {
		place, err, m.RetainedUntil = nil, nil, time.Time{}
	}
	if err != nil {
		return err
	}
	plain, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	data, err := seal.Object(v.ring, seal.NewHeader(seal.Manifest, v.ring.Current()), name, plain)
	if err != nil {
		return err
	}
	if place != nil {
		return place.PutRetained(ctx, name, data, m.RetainedUntil)
	}
	return v.st.PutNew(ctx, name, data)
}

// retainAgain moves the dates of what was put in the place of what retained
// backups need.
func (h *Healing) retainAgain(ctx context.Context) error {
	v := h.s.v
	place := blob.AsRetainer(v.st)
	if place == nil || place.Retention() == 0 {
		return nil
	}
	ids, err := v.Manifests(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		m, err := v.openManifest(ctx, id)
		if err == nil && m.Retained(time.Now()) {
			var names []string
			if names, err = v.needs(ctx, m); err == nil {
				err = retainAll(ctx, place, names, m.RetainedUntil)
			}
		}
		if err != nil && !damage(err) && !errors.Is(err, ErrNoBackup) {
			return fmt.Errorf("retain: %w", err)
		}
	}
	return nil
}
