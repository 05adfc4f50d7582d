package vault

import (
	"context"
	"errors"
	"fmt"

	"holdfast/vault/blob"
	"holdfast/vault/manifest"
	"holdfast/vault/seal"
)

// Commit completes a backup: packs, then index, then the manifest, whose
// appearance is the commit. The session and, unless given, the statistics are
// filled in. A manifest that is there already under this id is adopted: it is
// returned, and this session's own work is garbage. A backup deleted meanwhile is
// ErrDeleted, a session ended by a collector ErrSessionLost. At a place that
// retains, all that the backup needs is retained before its manifest is there, for
// as long as the place says or, if that is later, until m.RetainedUntil; what came
// of it is in the answer.
func (s *Session) Commit(ctx context.Context, m Manifest) (Manifest, error) {
	m, err := s.commit(ctx, m)
	if err != nil {
		return Manifest{}, fmt.Errorf("commit backup %s: %w", m.Backup, err)
	}
	s.committed = true
	return m, nil
}

func (s *Session) commit(ctx context.Context, m Manifest) (Manifest, error) {
	if err := CheckID(m.Backup); err != nil {
		return m, err
	}
	if err := s.only(m.Backup); err != nil {
		return m, err
	}
	if err := s.flush(); err != nil {
		return m, err
	}
	place, err := s.retain(ctx, &m)
	if err != nil {
		return m, err
	}
	if err := s.v.tombstoned(ctx, m.Backup, s.id); err != nil {
		return m, err
	}
	m.Session = s.id
	if m.Stats == (Stats{}) {
		m.Stats = s.stats()
	}
	plain, err := manifest.Encode(m)
	if err != nil {
		return m, err
	}
	name := manifestName(m.Backup)
	data, err := seal.Object(s.v.ring, seal.NewHeader(seal.Manifest, s.v.ring.Current()), name, plain)
	if err != nil {
		return m, err
	}
	if place != nil {
		err = place.PutRetained(ctx, name, data, m.RetainedUntil)
	} else {
		err = s.v.st.PutNew(ctx, name, data)
	}
	if errors.Is(err, blob.ErrExists) {
		return s.v.adopt(ctx, m.Backup)
	}
	if err != nil {
		return m, err
	}
	s.uploaded.Add(int64(len(data)))
	// Only now can no deleter or collector have missed the manifest.
	if err := s.v.stands(ctx, m.Backup, s.id); err != nil {
		if !errors.Is(err, ErrDeleted) && !errors.Is(err, ErrSessionLost) {
			return m, err
		}
		return m, errors.Join(err, s.v.bury(ctx, m.Backup))
	}
	return manifest.Decode(plain)
}

func (s *Session) stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{ReadBytes: s.read, ChangedBytes: s.changed, UploadedBytes: s.adopted + s.uploaded.Load()}
}

// only holds the session to one backup: a collector takes a session whose
// manifest is there for one that has ended.
func (s *Session) only(backup string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backup != "" && s.backup != backup {
		return fmt.Errorf("%w: session %s writes backup %s", ErrID, s.id, s.backup)
	}
	s.backup = backup
	return nil
}

// stands is tombstoned for a manifest that is there, and makes sure that it stays nil.
func (v *Vault) stands(ctx context.Context, backup, session string) error {
	if gone, err := v.exists(ctx, tombBackup+backup); err != nil {
		return err
	} else if gone {
		return ErrDeleted
	}
	return v.keep(ctx, session)
}

// tombstoned is ErrDeleted or ErrSessionLost for a backup that does not count.
func (v *Vault) tombstoned(ctx context.Context, backup, session string) error {
	if gone, err := v.exists(ctx, tombBackup+backup); err != nil {
		return err
	} else if gone {
		return ErrDeleted
	}
	gone, err := v.ended(ctx, session)
	return errors.Join(err, lost(gone))
}

// DeleteBackup removes a backup for good: a tombstone first, so that no late
// writer can bring it back, then the manifest. What only it needed is freed by
// the next collection. It works on a full storage, and may be repeated. One that
// is retained is a *RetainedError, and nothing was done.
func (v *Vault) DeleteBackup(ctx context.Context, backup string) error {
	if err := v.deleteBackup(ctx, backup); err != nil {
		return fmt.Errorf("delete backup %s: %w", backup, err)
	}
	return nil
}

func (v *Vault) deleteBackup(ctx context.Context, backup string) error {
	if err := CheckID(backup); err != nil {
		return err
	}
	if err := v.free(ctx, backup); err != nil {
		return err
	}
	err := v.entomb(ctx, backup)
	if err != nil && !errors.Is(err, blob.ErrNoSpace) {
		return err
	}
	if derr := v.st.Delete(ctx, manifestName(backup)); derr != nil {
		return errors.Join(err, derr)
	}
	if err != nil {
		// There was no room even for an empty blob; the manifest has made some. Until
		// the tombstone stands, the deletion is not done.
		return v.entomb(ctx, backup)
	}
	return nil
}

// bury removes a manifest that does not count. The tombstone is there first, so
// that nobody who was asleep deletes another manifest of that name. A retained
// one cannot be taken back: it is there to be read until its date.
func (v *Vault) bury(ctx context.Context, backup string) error {
	if err := v.entomb(ctx, backup); err != nil {
		return err
	}
	err := v.st.Delete(ctx, manifestName(backup))
	if errors.Is(err, blob.ErrRetained) {
		return nil
	}
	return err
}

func (v *Vault) entomb(ctx context.Context, backup string) error {
	err := v.st.PutNew(ctx, tombBackup+backup, nil)
	if errors.Is(err, blob.ErrExists) {
		return nil
	}
	return err
}
