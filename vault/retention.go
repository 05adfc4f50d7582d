package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/vault/blob"
)

// How a backup is kept from everybody until a date, where the place can do that:
// all that it needs is retained first, then its manifest appears, retained. What
// is retained is there; so a manifest that is there and not past its date is a
// whole backup, and no tombstone, which anybody with the site's keys can put,
// speaks against it.

const (
	retainWorkers = 16
	// A collector may take packs away while their dates are moved; what was needed
	// of them is in others then.
	retainAttempts = 5
)

// RetainedError says that a backup cannot be deleted yet, by anyone.
type RetainedError struct{ Until time.Time }

// Error names the date.
func (e *RetainedError) Error() string {
	return "the backup is retained until " + e.Until.UTC().Format(time.RFC3339)
}

// Unwrap makes it a blob.ErrRetained.
func (e *RetainedError) Unwrap() error { return blob.ErrRetained }

// retain retains all that a manifest's trees need, and sets its date. It returns
// the place to put it at; nil, where nothing is retained. What cannot be read of
// the trees is a *DamagedError: nothing could be promised of such a backup.
func (s *Session) retain(ctx context.Context, m *Manifest) (blob.Retainer, error) {
	place := blob.AsRetainer(s.v.st)
	if place == nil || place.Retention() == 0 {
		if !m.RetainedUntil.IsZero() {
			return nil, errors.New("nothing is retained at this place")
		}
		return nil, nil //nolint:nilnil // there is none
	}
	until := time.Now().Add(place.Retention())
	if m.RetainedUntil.After(until) {
		until = m.RetainedUntil
	}
	m.RetainedUntil = until.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
	var err error
	for range retainAttempts {
		var names []string
		if names, err = s.v.needs(ctx, *m); err != nil {
			return nil, err
		}
		if err = retainAll(ctx, place, names, m.RetainedUntil); !errors.Is(err, blob.ErrNotFound) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("retain: %w", err)
	}
	return place, nil
}

// needs names the blobs without which a backup is not whole, but for its keys and
// its manifest: the parameters, a pack for each chunk, and the segments of those.
func (v *Vault) needs(ctx context.Context, m Manifest) ([]string, error) {
	in, err := v.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	mk := newMarker(in)
	for _, im := range m.Images {
		before := mk.missing
		err := mk.image(ctx, m.Backup, im)
		if err == nil && mk.missing > before {
			err = fmt.Errorf("%w: %d of image %s", ErrMissing, mk.missing-before, im.Name)
		}
		if err != nil && damage(err) {
			err = &DamagedError{Image: m.Backup + "/" + im.Name, Length: im.Size, Err: err}
		}
		if err != nil {
			return nil, err
		}
	}
	packs := map[string]bool{}
	for name, p := range mk.packs {
		if p.live > 0 {
			packs[name] = true
		}
	}
	names := []string{paramsName}
	for name, s := range in.segments {
		if slices.ContainsFunc(s.packs, func(use packUse) bool { return packs[use.name] }) {
			names = append(names, name)
		}
	}
	for name := range packs {
		names = append(names, name)
	}
	return names, nil
}

func retainAll(ctx context.Context, place blob.Retainer, names []string, until time.Time) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(retainWorkers)
	for _, name := range names {
		g.Go(func() error { return place.Retain(ctx, name, until) })
	}
	return g.Wait()
}

// free is a *RetainedError for a backup that cannot be deleted yet.
func (v *Vault) free(ctx context.Context, backup string) error {
	var until time.Time
	m, err := v.openManifest(ctx, backup)
	if err == nil {
		until = m.RetainedUntil
	} else if !errors.Is(err, ErrNoBackup) && !damage(err) {
		return err
	}
	dates, err := v.retained(ctx, []string{manifestName(backup)})
	if err != nil {
		return err
	}
	if date := dates[manifestName(backup)]; date.After(until) {
		until = date
	}
	if until.After(time.Now()) {
		return &RetainedError{until}
	}
	return nil
}

// retained asks for the dates of blobs that cannot be deleted yet.
func (v *Vault) retained(ctx context.Context, names []string) (map[string]time.Time, error) {
	place := blob.AsRetainer(v.st)
	if place == nil {
		return nil, nil
	}
	now := time.Now()
	var mu sync.Mutex
	dates := map[string]time.Time{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(retainWorkers)
	for _, name := range names {
		g.Go(func() error {
			until, err := place.RetainedUntil(ctx, name)
			if errors.Is(err, blob.ErrNotFound) {
				return nil
			}
			if err == nil && until.After(now) {
				mu.Lock()
				defer mu.Unlock()
				dates[name] = until
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("ask until when blobs are retained: %w", err)
	}
	return dates, nil
}

// unhidden reports whether a manifest that was listed counts in spite of a
// tombstone. One that cannot be read does not.
func (v *Vault) unhidden(ctx context.Context, backup string) (bool, error) {
	m, err := v.openManifest(ctx, backup)
	if err != nil && (damage(err) || errors.Is(err, ErrNoBackup)) {
		return false, nil
	}
	return err == nil && m.Retained(time.Now()), err
}

// Waiting is what a collection could free if it were not retained.
type Waiting struct {
	Packs int       `json:"packs"`
	Bytes int64     `json:"bytes"`
	First time.Time `json:"first"` // when the first of them may go
	Last  time.Time `json:"last"`
}

// with counts one more pack.
func (w Waiting) with(bytes int64, until time.Time) Waiting {
	w.Packs++
	w.Bytes += bytes
	if w.First.IsZero() || until.Before(w.First) {
		w.First = until
	}
	if until.After(w.Last) {
		w.Last = until
	}
	return w
}

// String is a line of a plan; none when nothing waits.
func (w Waiting) String() string {
	if w.Packs == 0 {
		return ""
	}
	return fmt.Sprintf("  waiting    %d packs are retained: %d bytes are free to go from %s on, the last at %s\n",
		w.Packs, w.Bytes, w.First.UTC().Format(time.RFC3339), w.Last.UTC().Format(time.RFC3339))
}

// unlocked leaves out what is retained.
func (v *Vault) unlocked(ctx context.Context, names []string) ([]string, error) {
	dates, err := v.retained(ctx, names)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool { return !dates[name].IsZero() }), nil
}
