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

// Lock says for how long backups are kept from deletion. The bucket must have
// object lock.
type Lock struct {
	For time.Duration
	// Governance lets whoever has S3's right to bypass it delete nevertheless;
	// else nobody can, not even the owner of the bucket.
	Governance bool
}

// minLock is the shortest time that can be told apart from the next second.
const minLock = time.Second

// slackShare: what backups share is kept for an eighth longer than asked, so that
// its date has to be moved that seldom, and not at all for what the same backup
// has just written.
const slackShare = 8

// lockedNames are what a backup needs. All else must be deletable at any time:
// keys, so that an account can be shredded, and what sessions and collections
// come and go with.
var lockedNames = []string{"vault.json", "packs/", "index/", "backups/"}

func lockable(name string) bool {
	return slices.ContainsFunc(lockedNames, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func (l *Lock) check() error {
	if l != nil && l.For < minLock {
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

// generous is a date with the slack.
func (l *Lock) generous(until time.Time) time.Time { return roundUp(until.Add(l.For / slackShare)) }

// roundUp: the date is sent in seconds.
func roundUp(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

// Retention implements blob.Retainer.
func (s *Storage) Retention() time.Duration {
	if s.config.Lock == nil {
		return 0
	}
	return s.config.Lock.For
}

// Retain implements blob.Retainer. Without Config.Lock, and for names that are
// never locked, it is an error.
func (s *Storage) Retain(ctx context.Context, name string, until time.Time) error {
	key, err := s.key(ctx, name)
	if err != nil {
		return err
	}
	lock := s.config.Lock
	if lock == nil || !lockable(name) {
		return neverLocked(name)
	}
	until = roundUp(until)
	return s.read(ctx, "retain "+name, key, func(ctx context.Context, a *attempt, version string) error {
		// Nobody can shorten a lock for compliance, so what was seen of it holds.
		if !lock.Governance && !s.versions.lock(key, version).Before(until) {
			return nil
		}
		now, err := s.retention(ctx, a, key, version)
		if err == nil && now.Before(until) {
			mode := lock.mode()
			now = lock.generous(until)
			err = s.client.PutObjectRetention(ctx, s.config.Bucket, key, minio.PutObjectRetentionOptions{
				Mode: &mode, RetainUntilDate: &now, VersionID: version,
			})
		}
		if err == nil {
			s.versions.put(key, version, now)
		}
		return err
	})
}

func neverLocked(name string) error { return fmt.Errorf("retain %s: never locked here", name) }

// RetainedUntil implements blob.Retainer. It is known of every bucket with
// versions, whether this configuration locks or not.
func (s *Storage) RetainedUntil(ctx context.Context, name string) (time.Time, error) {
	key, err := s.key(ctx, name)
	if err != nil || s.versions == nil {
		return time.Time{}, err
	}
	var until time.Time
	err = s.read(ctx, "read retention of "+name, key, func(ctx context.Context, a *attempt, version string) (err error) {
		until, err = s.retention(ctx, a, key, version)
		return err
	})
	return until, err
}

// unlocked are the answers about a version without a lock.
var unlocked = []string{"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest"}

// retention of a version; zero when it has none. HEAD tells of most; only of
// versions under others a server may leave it out there (versitygw does).
func (s *Storage) retention(ctx context.Context, a *attempt, key, version string) (time.Time, error) {
	info, err := s.client.StatObject(ctx, s.config.Bucket, key, minio.StatObjectOptions{VersionID: version})
	if err != nil {
		return time.Time{}, err
	}
	if date := info.Headers.Get("X-Amz-Object-Lock-Retain-Until-Date"); date != "" {
		until, err := time.Parse(time.RFC3339, date)
		if err != nil {
			return time.Time{}, fmt.Errorf("%w: retained until %q", errProtocol, printable(date))
		}
		return until, nil
	}
	a.retention = true
	defer func() { a.retention = false }()
	_, until, err := s.client.GetObjectRetention(ctx, s.config.Bucket, key, version)
	if slices.Contains(unlocked, minio.ToErrorResponse(err).Code) {
		return time.Time{}, nil
	}
	if err != nil || until == nil {
		return time.Time{}, err
	}
	return *until, nil
}

// lockOf asks for the lock of the blob among its versions.
func (s *Storage) lockOf(ctx context.Context, key string, all []version) (until time.Time, err error) {
	for _, v := range slices.Backward(all) {
		if v.marker {
			continue
		}
		err = s.retry(ctx, "read retention of "+key, func(ctx context.Context, a *attempt) (err error) {
			until, err = s.retention(ctx, a, key, v.id)
			return err
		})
		if absent(err) {
			err = nil
		}
		return until, err
	}
	return time.Time{}, nil
}
