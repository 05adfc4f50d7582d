package mem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/vault/blob"
)

// Locked is a Storage that retains what backups need, as a bucket with object
// lock does, by this process's clock.
type Locked struct {
	*Storage

	keep  time.Duration
	mu    sync.Mutex
	until map[string]time.Time
}

var _ blob.Retainer = (*Locked)(nil)

// NewLocked returns an empty storage that retains every blob of a backup for a
// time from its being put.
func NewLocked(keep time.Duration) *Locked {
	return &Locked{Storage: New(), keep: keep, until: map[string]time.Time{}}
}

func lockable(name string) bool {
	return slices.ContainsFunc([]string{"vault.json", "packs/", "index/", "backups/"}, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Retention implements blob.Retainer.
func (l *Locked) Retention() time.Duration { return l.keep }

// PutNew implements blob.Storage.
func (l *Locked) PutNew(ctx context.Context, name string, data []byte) error {
	if !lockable(name) {
		return l.Storage.PutNew(ctx, name, data)
	}
	return l.PutRetained(ctx, name, data, time.Now().Add(l.keep))
}

// PutRetained implements blob.Retainer.
func (l *Locked) PutRetained(ctx context.Context, name string, data []byte, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Storage.PutNew(ctx, name, data); err != nil {
		return err
	}
	l.until[name] = until
	return nil
}

// Retain implements blob.Retainer.
func (l *Locked) Retain(ctx context.Context, name string, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.Stat(ctx, name); err != nil {
		return err
	}
	if !lockable(name) {
		return fmt.Errorf("retain %s: never locked here", name)
	}
	if l.until[name].Before(until) {
		l.until[name] = until
	}
	return nil
}

// RetainedUntil implements blob.Retainer.
func (l *Locked) RetainedUntil(ctx context.Context, name string) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.Stat(ctx, name); err != nil {
		return time.Time{}, err
	}
	return l.until[name], nil
}

// Delete implements blob.Storage.
func (l *Locked) Delete(ctx context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := l.until[name]; until.After(time.Now()) {
		return fmt.Errorf("delete %s: %w until %s", name, blob.ErrRetained, until.UTC().Format(time.RFC3339))
	}
	delete(l.until, name)
	return l.Storage.Delete(ctx, name)
}

// Tamper is Storage.Tamper, as far as whoever has the site's keys can: what he
// does to a retained blob lies over it, and is not seen.
func (l *Locked) Tamper(name string, change func([]byte) []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until[name].After(time.Now()) {
		return false
	}
	return l.Storage.Tamper(name, change)
}
