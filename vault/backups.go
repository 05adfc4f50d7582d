package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/vault/blob"
	"holdfast/vault/manifest"
	"holdfast/vault/seal"
)

// Manifests returns the ids of the completed backups, ascending. Only session
// tombstones, and manifests that are there beside their tombstones, cause
// manifests to be read.
func (v *Vault) Manifests(ctx context.Context) ([]string, error) {
	dead, sessions := map[string]bool{}, false
	for info, err := range v.st.List(ctx, tombPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list backups: %w", err)
		}
		if id, ok := strings.CutPrefix(info.Name, tombBackup); ok {
			dead[id] = true
		}
		sessions = sessions || info.Size == 0 && strings.HasPrefix(info.Name, tombSession)
	}
	var ids []string
	for info, err := range v.st.List(ctx, manifest.Prefix) {
		if err != nil {
			return nil, fmt.Errorf("list backups: %w", err)
		}
		id := strings.TrimPrefix(info.Name, manifest.Prefix)
		if CheckID(id) != nil {
			continue
		}
		if dead[id] {
			shown, err := v.unhidden(ctx, id)
			if err != nil {
				return nil, fmt.Errorf("list backups: %w", err)
			}
			if !shown {
				continue
			}
		} else if sessions {
			if _, err := v.Manifest(ctx, id); errors.Is(err, ErrNoBackup) {
				continue
			}
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Manifest reads the description of one backup. One that does not exist, was
// deleted, or whose session a collector has ended, is ErrNoBackup; a retained one
// is there whatever anybody put beside it.
func (v *Vault) Manifest(ctx context.Context, backup string) (Manifest, error) {
	m, err := v.readManifest(ctx, backup)
	if err != nil {
		return Manifest{}, fmt.Errorf("backup %s: %w", backup, err)
	}
	return m, nil
}

func (v *Vault) readManifest(ctx context.Context, backup string) (Manifest, error) {
	if err := CheckID(backup); err != nil {
		return Manifest{}, err
	}
	m, err := v.openManifest(ctx, backup)
	if err != nil {
		return Manifest{}, err
	}
	if m.Retained(time.Now()) {
		return m, nil
	}
	return m, v.standing(ctx, m)
}

// standing is ErrNoBackup for a backup with a tombstone.
func (v *Vault) standing(ctx context.Context, m Manifest) error {
	err := v.tombstoned(ctx, m.Backup, m.Session)
	if errors.Is(err, ErrDeleted) || errors.Is(err, ErrSessionLost) {
		return fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	return err
}

// openManifest reads a manifest whether it counts or not.
func (v *Vault) openManifest(ctx context.Context, backup string) (Manifest, error) {
	name := manifestName(backup)
	data, err := v.st.Get(ctx, name, manifest.MaxSize+seal.HeaderSize+seal.Overhead)
	if errors.Is(err, blob.ErrNotFound) {
		return Manifest{}, ErrNoBackup
	}
	if err != nil {
		return Manifest{}, err
	}
	plain, err := seal.OpenObject(v.ring, seal.Manifest, name, data)
	if err != nil {
		return Manifest{}, err
	}
	m, err := manifest.Decode(plain)
	if err != nil {
		return Manifest{}, err
	}
	if m.Backup != backup || CheckID(m.Session) != nil {
		return Manifest{}, fmt.Errorf("%w: it names %q", manifest.ErrMalformed, m.Backup)
	}
	return m, nil
}
