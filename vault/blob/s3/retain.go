package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/vault/blob"
)

var _ blob.Retainer = (*Storage)(nil)

// Lock says for how long a blob is kept from deletion when it is written; Retain
// extends it. The bucket must have object lock.
type Lock struct {
	For time.Duration
	// Governance lets whoever has S3's right to bypass it delete nevertheless;
	// else nobody can, not even the owner of the bucket.
	Governance bool
}

// neverLocked are the names that must be deletable at any time: keys, so that an
// account can be shredded, and what the collection of space comes and goes with.
var neverLocked = []string{"keys/", "sessions/", "tombstones/"}

func lockable(name string) bool {
	return !slices.ContainsFunc(neverLocked, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func (l *Lock) check() error {
	if l != nil && l.For < time.Second {
		return errors.New("a lock must be for a second or more")
	}
	return nil
}

func (l *Lock) mode() minio.RetentionMode {
	if l.Governance {
		return minio.Governance
	}
	return minio.Compliance
}

// until is rounded up: the date is sent in seconds.
func (l *Lock) until(now time.Time) time.Time { return roundUp(now.Add(l.For)) }

func roundUp(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

// Retain implements blob.Retainer. Without Config.Lock, and for names that are
// never locked, it is an error.
func (s *Storage) Retain(ctx context.Context, name string, until time.Time) error {
	key, err := s.key(ctx, name)
	if err != nil {
		return err
	}
	if s.config.Lock == nil || !lockable(name) {
		return fmt.Errorf("retain %s: never locked here", name)
	}
	until = roundUp(until)
	return s.read(ctx, "retain "+name, key, func(ctx context.Context, _ *attempt, version string) error {
		now, err := s.retention(ctx, key, version)
		if err != nil || !now.Before(until) {
			return err
		}
		mode := s.config.Lock.mode()
		return s.client.PutObjectRetention(ctx, s.config.Bucket, key, minio.PutObjectRetentionOptions{
			Mode: &mode, RetainUntilDate: &until, VersionID: version,
		})
	})
}

// RetainedUntil implements blob.Retainer.
func (s *Storage) RetainedUntil(ctx context.Context, name string) (time.Time, error) {
	key, err := s.key(ctx, name)
	if err != nil || s.config.Lock == nil {
		return time.Time{}, err
	}
	var until time.Time
	err = s.read(ctx, "read retention of "+name, key, func(ctx context.Context, _ *attempt, version string) (err error) {
		until, err = s.retention(ctx, key, version)
		return err
	})
	return until, err
}

// retention of a version; zero when it has none. It is asked for by HEAD: servers
// differ in the XML of GetObjectRetention.
func (s *Storage) retention(ctx context.Context, key, version string) (time.Time, error) {
	info, err := s.client.StatObject(ctx, s.config.Bucket, key, minio.StatObjectOptions{VersionID: version})
	if err != nil {
		return time.Time{}, err
	}
	date := info.Headers.Get("X-Amz-Object-Lock-Retain-Until-Date")
	if date == "" {
		return time.Time{}, nil
	}
	until, err := time.Parse(time.RFC3339, date)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: retained until %q", errProtocol, printable(date))
	}
	return until, nil
}

// lockOf asks for the lock of the blob among its versions.
func (s *Storage) lockOf(ctx context.Context, key string, all []version) (until time.Time, err error) {
	if s.config.Lock == nil {
		return time.Time{}, nil
	}
	for _, v := range slices.Backward(all) {
		if v.marker {
			continue
		}
		err = s.retry(ctx, "read retention of "+key, func(ctx context.Context, _ *attempt) (err error) {
			until, err = s.retention(ctx, key, v.id)
			return err
		})
		if absent(err) {
			err = nil
		}
		return until, err
	}
	return time.Time{}, nil
}
