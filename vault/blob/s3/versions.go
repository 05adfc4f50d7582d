package s3

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

const (
	maxRemembered = 1 << 16 // versions of names
	maxVersions   = 10000   // of one name that is to be deleted; more is an attack
)

// versions remembers which version of a key is the blob. A blob is written once,
// so it is the oldest: whoever has our keys can put a delete marker or other
// bytes over a locked blob, but under it nothing.
type versions struct {
	mu sync.Mutex
	of map[string]remembered // by key
}

// remembered is a version, and until when it is known to be locked.
type remembered struct {
	id    string
	until time.Time
}

func newVersions() *versions { return &versions{of: map[string]remembered{}} }

func (v *versions) get(key string) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r, ok := v.of[key]
	return r.id, ok
}

// lock of a version as far as it is known.
func (v *versions) lock(key, id string) time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r := v.of[key]; r.id == id {
		return r.until
	}
	return time.Time{}
}

// put notes a version, and a lock that was seen; zero says nothing of the lock.
func (v *versions) put(key, id string, until time.Time) {
	if id == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	r, ok := v.of[key]
	if !ok && len(v.of) >= maxRemembered {
		for old := range v.of { // any
			delete(v.of, old)
			break
		}
	}
	if r.id != id || r.until.Before(until) {
		v.of[key] = remembered{id, until}
	}
}

func (v *versions) forget(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.of, key)
}

// version of a key, or a delete marker over it.
type version struct {
	id     string
	marker bool
}

// eachVersion visits a key's versions, the newest first, after begin, and all
// again when the list broke off. Without all, markers may be missing.
func (s *Storage) eachVersion(ctx context.Context, key string, all bool, begin func(), visit func(version) error) error {
	return s.retry(ctx, "find versions of "+key, func(ctx context.Context, a *attempt) error {
		begin()
		for o := range s.client.ListObjectsIter(ctx, s.config.Bucket, minio.ListObjectsOptions{
			Prefix: key, Recursive: true, WithVersions: true,
		}) {
			if o.Err != nil {
				return o.Err
			}
			a.pages = 0
			if o.Key == key {
				if err := visit(version{o.VersionID, o.IsDeleteMarker}); err != nil {
					return err
				}
			} else if !all && !o.IsDeleteMarker { // a key sorts before those it begins
				break
			}
		}
		return ctx.Err()
	})
}

// versionsOf returns all versions of a key, the newest first.
func (s *Storage) versionsOf(ctx context.Context, key string) (found []version, err error) {
	err = s.eachVersion(ctx, key, true, func() { found = found[:0] }, func(v version) error {
		if len(found) >= maxVersions {
			return fmt.Errorf("%w: more than %d versions", errProtocol, maxVersions)
		}
		found = append(found, v)
		return nil
	})
	return found, err
}

// oldest returns, and remembers, the version that is the blob, or
// blob.ErrNotFound. However many were put over it, it is found.
func (s *Storage) oldest(ctx context.Context, key string) (id string, err error) {
	found := false
	err = s.eachVersion(ctx, key, false, func() { id, found = "", false }, func(v version) error {
		if !v.marker {
			id, found = v.id, true
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("find %s: %w", key, blob.ErrNotFound)
	}
	if err == nil {
		s.versions.put(key, id, time.Time{})
	}
	return id, err
}
