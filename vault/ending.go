package vault

import (
	"context"
	"errors"
	"fmt"

	"holdfast/vault/blob"
)

// How a session that does not end by itself is ended, without a clock and without
// ever undoing a commit that was told to anybody:
//
// A collector first puts a notice, then looks for the session's manifest, and
// only if there is none puts the tombstone, empty. A writer puts its manifest and
// then looks for a notice. If there is none, every collector that gives notice
// later finds the manifest. If there is one, the two contend for the tombstone's
// name: the writer puts it with these bytes, and whoever comes first is right.
var keptMark = []byte("kept\n")

// ended reports whether a collector has ended a session. A tombstone that the
// writer put to keep its backup has bytes.
func (v *Vault) ended(ctx context.Context, session string) (bool, error) {
	info, err := v.st.Stat(ctx, tombSession+session)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	return err == nil && info.Size == 0, err
}

// keep makes sure that no collector ends a session whose manifest is there any
// more, or is ErrSessionLost.
func (v *Vault) keep(ctx context.Context, session string) error {
	// A notice goes only after the tombstone stands, so looking in this order
	// misses neither.
	noticed, err := v.exists(ctx, noticePrefix+session)
	if err != nil {
		return err
	}
	if noticed {
		err := v.st.PutNew(ctx, tombSession+session, keptMark)
		if err != nil && !errors.Is(err, blob.ErrExists) {
			return err
		}
	}
	gone, err := v.ended(ctx, session)
	return errors.Join(err, lost(gone))
}

// Adopt is Manifest for whoever will act on the backup's being complete: from now
// on no collector can say that it is not, however long its writer was stopped.
func (v *Vault) Adopt(ctx context.Context, backup string) (Manifest, error) {
	m, err := v.adopt(ctx, backup)
	if err != nil {
		return Manifest{}, fmt.Errorf("adopt backup %s: %w", backup, err)
	}
	return m, nil
}

func (v *Vault) adopt(ctx context.Context, backup string) (Manifest, error) {
	if err := CheckID(backup); err != nil {
		return Manifest{}, err
	}
	m, err := v.openManifest(ctx, backup)
	if err != nil {
		return Manifest{}, err
	}
	// What is only there because it is retained may be gone tomorrow.
	if err := v.standing(ctx, m); err != nil {
		return Manifest{}, err
	}
	err = v.keep(ctx, m.Session)
	if errors.Is(err, ErrSessionLost) {
		return Manifest{}, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	return m, err
}

// Abandon says that a session will not be taken up again. What it wrote becomes
// garbage, and the next collection ends the session without waiting for it; until
// then its id may still be used. A session that does not exist is no error.
func (v *Vault) Abandon(ctx context.Context, session string) error {
	if err := CheckID(session); err != nil {
		return fmt.Errorf("abandon vault session: %w", err)
	}
	if err := v.notice(ctx, session); err != nil {
		return fmt.Errorf("abandon vault session %s: %w", session, err)
	}
	return nil
}

// notice leaves the mark: a writer that was only asleep must find itself ended by
// the collector that takes what it relies on.
func (v *Vault) notice(ctx context.Context, session string) error {
	marked, err := v.exists(ctx, sessionPrefix+session)
	if err != nil || !marked {
		return err
	}
	err = v.st.PutNew(ctx, noticePrefix+session, nil)
	if errors.Is(err, blob.ErrExists) || errors.Is(err, blob.ErrNoSpace) {
		return nil // without a notice a collector waits for it as for any other
	}
	return err
}
