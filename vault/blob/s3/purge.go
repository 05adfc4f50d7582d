package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

var _ blob.Purger = (*Storage)(nil)

const (
	maxPurges  = 3       // rounds: what appears meanwhile goes, too
	maxPurging = 1 << 17 // objects of one round; more is an attack
)

// Purge implements blob.Purger. It asks for versions whether the bucket is said
// to keep them or not: it may have kept them once. What is replicated elsewhere,
// or backed up by the server, is out of its reach.
func (s *Storage) Purge(ctx context.Context, prefix string) (removed int, err error) {
	for round := 0; ; round++ {
		found, err := s.everything(ctx, prefix)
		if err != nil || len(found) == 0 {
			return removed, err
		}
		if round == maxPurges {
			return removed, fmt.Errorf("purge %s: %d objects come back", prefix, len(found))
		}
		for _, o := range found {
			name := strings.TrimPrefix(o.key, s.prefix)
			if s.versions != nil {
				s.versions.forget(o.key)
			}
			if err := s.remove(ctx, name, o.key, o.id); err != nil {
				if refused(err) {
					err = fmt.Errorf("%w: %w", blob.ErrRetained, err)
				}
				return removed, err
			}
			removed++
		}
	}
}

type object struct{ key, id string }

// everything lists the objects below a prefix, their versions and markers.
func (s *Storage) everything(ctx context.Context, prefix string) ([]object, error) {
	var found []object
	list := func(versions bool) error {
		return s.retry(ctx, "list all of "+prefix, func(ctx context.Context, a *attempt) error {
			found = found[:0]
			for o := range s.client.ListObjectsIter(ctx, s.config.Bucket, minio.ListObjectsOptions{
				Prefix: s.prefix + prefix, Recursive: true, WithVersions: versions, FetchOwner: new(bool),
			}) {
				switch {
				case o.Err != nil:
					return o.Err
				case !strings.HasPrefix(o.Key, s.prefix+prefix):
					return fmt.Errorf("%w: %q in the list of %q", errProtocol, printable(o.Key), s.prefix+prefix)
				case len(found) >= maxPurging:
					return fmt.Errorf("%w: more than %d objects below %q", errProtocol, maxPurging, prefix)
				}
				a.pages = 0
				found = append(found, object{o.Key, o.VersionID})
			}
			return ctx.Err()
		})
	}
	err := list(true)
	if e, ok := errors.AsType[*Error](err); ok && s.versions == nil && e.Status == http.StatusNotImplemented {
		err = list(false) // a server that knows no versions keeps none
	}
	return found, err
}
