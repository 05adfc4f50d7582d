package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

// Delete implements blob.Storage. On a bucket with versions it removes them all,
// so that the space is free and the name, too; the oldest, which is the blob,
// goes last. One that is locked is blob.ErrRetained.
func (s *Storage) Delete(ctx context.Context, name string) error {
	key, err := s.key(ctx, name)
	if err != nil {
		return err
	}
	if s.versions == nil {
		return s.remove(ctx, name, key, "")
	}
	s.versions.forget(key)
	all, err := s.versionsOf(ctx, key)
	if err != nil {
		return err
	}
	if until, err := s.lockOf(ctx, key, all); err != nil {
		return err
	} else if until.After(time.Now()) {
		return retained(name, until)
	}
	for _, v := range all {
		err := s.remove(ctx, name, key, v.id)
		if !v.marker && refused(err) {
			// A clock may be ahead of the server's.
			if until, lerr := s.lockOf(ctx, key, []version{v}); lerr == nil && !until.IsZero() {
				err = errors.Join(retained(name, until), err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func retained(name string, until time.Time) error {
	return fmt.Errorf("delete %s: %w until %s", name, blob.ErrRetained, until.UTC().Format(time.RFC3339))
}

// refused reports a refusal as servers say it of a locked version.
func refused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && slices.Contains([]string{"AccessDenied", "InvalidRequest", "ObjectLocked"}, e.Code)
}

func (s *Storage) remove(ctx context.Context, name, key, version string) error {
	err := s.retry(ctx, "delete "+name, func(ctx context.Context, _ *attempt) error {
		return s.client.RemoveObject(ctx, s.config.Bucket, key, minio.RemoveObjectOptions{VersionID: version})
	})
	if absent(err) {
		return nil
	}
	return err
}
