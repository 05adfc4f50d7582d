package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/vault/blob"
)

// ErrNotACopy says that two vaults cannot hold the same backups: they are not of
// the same account's ring, or cut disks into chunks of another size.
var ErrNotACopy = errors.New("the other vault is no copy of this one")

// CopyOptions say how a backup is copied.
type CopyOptions struct {
	// Bases are backups, the most alike first, that may be at the target. What a
	// tree shares with the first of them that is there is taken to be there too,
	// as an incremental backup takes its parent's. They only save time.
	Bases []string
	// Progress, if set, is called in turn with the bytes of the images that have
	// been seen to, of those in all, and those the session has uploaded.
	Progress func(done, total, uploaded int64)
}

// Copied is what a copy did.
type Copied struct {
	Manifest Manifest // as it stands at the target
	Uploaded int64    // bytes stored at the target by this call
	Adopted  int64    // bytes that calls before it had stored there
	// There says that the target had the backup already.
	There bool
}

// InitCopy makes a vault in an empty storage that backups of this one can be
// copied to: it has the same parameters. c gives the account, its ring as it is
// now, and the wraps of it. Another account's is ErrNotACopy; a vault that is
// there already is blob.ErrExists.
func (v *Vault) InitCopy(ctx context.Context, st blob.Storage, c Config, options ...Option) (*Vault, error) {
	if !c.Ring.IsZero() && c.Ring.ParamKey() != v.ring.get().ParamKey() {
		return nil, fmt.Errorf("init vault: %w", ErrNotACopy)
	}
	c.params = &v.params
	return Init(ctx, st, c, options...)
}

// Copy writes a backup of this vault into another one, in a session there that
// every try at the same copy names anew. Only what the target has not is moved,
// and each chunk is proved on the way: damage is a *DamagedError, and nothing of
// it is spread. A backup that was deleted at the target is ErrDeleted, one that is
// not there to be copied, or goes meanwhile, ErrNoBackup; a session that a
// collector of the target has ended ErrSessionLost, and the copy begins anew in
// another one.
func (v *Vault) Copy(ctx context.Context, to *Vault, session, backup string, o CopyOptions) (Copied, error) {
	c := newCopier(v, to, o)
	err := c.run(ctx, session, backup)
	if err != nil {
		return Copied{}, fmt.Errorf("copy backup %s: %w", backup, err)
	}
	return c.done, nil
}

func (v *Vault) alike(o *Vault) bool {
	return v.ring.get().ParamKey() == o.ring.get().ParamKey() && v.params.ChunkSize == o.params.ChunkSize
}

func (c *copier) run(ctx context.Context, session, backup string) error {
	if !c.from.alike(c.to) {
		return ErrNotACopy
	}
	if err := CheckID(session); err != nil {
		return err
	}
	m, err := c.to.adopt(ctx, backup)
	if err == nil {
		c.done = Copied{Manifest: m, There: true}
		if m.Session == session {
			return c.to.notice(ctx, session) // a try before this one did not come to remove its mark
		}
		return nil
	}
	if !errors.Is(err, ErrNoBackup) {
		return err
	}
	if err := c.to.tombstoned(ctx, backup, session); err != nil {
		return err
	}
	if m, err = c.from.adopt(ctx, backup); err != nil {
		return err
	}
	err = c.to.Write(ctx, session, func(ctx context.Context, s *Session) error {
		c.s = s
		return c.backup(ctx, m)
	})
	if err != nil {
		return c.blame(ctx, m, err)
	}
	return nil
}

func (c *copier) backup(ctx context.Context, m Manifest) error {
	for _, im := range m.Images {
		c.total += im.Size
	}
	if err := c.from.refresh(ctx); err != nil {
		return err
	}
	bases := c.bases(ctx)
	for _, im := range m.Images {
		c.im = im
		base, _ := bases.Image(im.Name)
		if err := c.image(ctx, base); err != nil {
			if cause := context.Cause(c.s.ctx); cause != nil {
				err = cause
			}
			c.s.fail(err) // what is claimed may not have come: it must not be committed
			return err
		}
		c.seen += im.Size
	}
	// Deleted meanwhile: its deleter may have been at the target before the
	// session's mark.
	if _, err := c.from.adopt(ctx, m.Backup); err != nil {
		return err
	}
	m.RetainedUntil = time.Time{} // each place retains by its own rule
	stands, err := c.s.Commit(ctx, m)
	c.done = Copied{Manifest: stands, Uploaded: c.s.Uploaded(), Adopted: c.s.Adopted()}
	return err
}

// bases is the first base that the target holds, or none. It has to be looked at
// in the session: from the mark on, no collection takes what is inherited.
func (c *copier) bases(ctx context.Context) Manifest {
	for _, id := range c.o.Bases {
		if m, err := c.to.Adopt(ctx, id); err == nil {
			return m
		}
	}
	return Manifest{}
}

// blame tells a backup that was deleted meanwhile, and so lost its chunks, from a
// damaged one.
func (c *copier) blame(ctx context.Context, m Manifest, err error) error {
	if !damage(err) {
		return err
	}
	if _, gone := c.from.readManifest(ctx, m.Backup); gone != nil && !damage(gone) {
		return gone // or it cannot be told now
	}
	return err
}
