package s3

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

const (
	maxRemembered = 1 << 14 // versions of names
	maxVersions   = 10000   // of one name; more is an attack
)

// versions remembers which version of a key is the blob. A blob is written once,
// so it is the oldest: whoever has our keys can put a delete marker or other
// bytes over a locked blob, but under it nothing.
type versions struct {
	mu sync.Mutex
	of map[string]string // by key
}

func newVersions() *versions { return &versions{of: map[string]string{}} }

func (v *versions) get(key string) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id, ok := v.of[key]
	return id, ok
}

func (v *versions) put(key, id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.of) >= maxRemembered {
		for old := range v.of { // any
			delete(v.of, old)
			break
		}
	}
	if id != "" {
		v.of[key] = id
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

// versionsOf returns a key's versions, the newest first. Without all, markers
// may be missing.
func (s *Storage) versionsOf(ctx context.Context, key string, all bool) ([]version, error) {
	var found []version
	err := s.retry(ctx, "find versions of "+key, func(ctx context.Context, a *attempt) error {
		found = found[:0]
		seen := 0
		for o := range s.client.ListObjectsIter(ctx, s.config.Bucket, minio.ListObjectsOptions{
			Prefix: key, Recursive: true, WithVersions: true,
		}) {
			if o.Err != nil {
				return o.Err
			}
			if seen++; seen > maxVersions {
				return fmt.Errorf("%w: more than %d versions", errProtocol, maxVersions)
			}
			a.pages = 0
			if o.Key == key {
				found = append(found, version{o.VersionID, o.IsDeleteMarker})
			} else if !all && !o.IsDeleteMarker { // a key sorts before those it begins
				break
			}
		}
		return ctx.Err()
	})
	return found, err
}

// oldest returns, and remembers, the version that is the blob, or blob.ErrNotFound.
func (s *Storage) oldest(ctx context.Context, key string) (string, error) {
	found, err := s.versionsOf(ctx, key, false)
	if err != nil {
		return "", err
	}
	for _, v := range slices.Backward(found) {
		if !v.marker {
			s.versions.put(key, v.id)
			return v.id, nil
		}
	}
	return "", fmt.Errorf("find %s: %w", key, blob.ErrNotFound)
}
