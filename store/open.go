package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

// Option changes how a database is opened.
type Option func(*options)

type options struct {
	wall     func() time.Time
	steady   func() time.Duration
	reserve  int64
	existing bool
}

// WithWallClock replaces the database's wall clock.
func WithWallClock(now func() time.Time) Option { return func(o *options) { o.wall = now } }

// WithSteadyClock replaces the clock that leases run by; it gives the time since
// some beginning.
func WithSteadyClock(since func() time.Duration) Option {
	return func(o *options) { o.steady = since }
}

// WithReserve sets the size of the reserve in bytes; 0: none. PostgreSQL has none.
func WithReserve(bytes int64) Option { return func(o *options) { o.reserve = bytes } }

// Existing refuses, with ErrNotFound, a database that no version has written.
func Existing() Option { return func(o *options) { o.existing = true } }

// OnServer reports whether a database is one of a server, not a file.
func OnServer(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

// Open opens a database and brings its schema up to date: that of a PostgreSQL
// server if it begins with postgres://, else the SQLite file of that path, which
// it makes readable by its owner alone. One that a newer version has written is
// refused. No error has the password of a URL in it.
func Open(ctx context.Context, database string, opts ...Option) (*Store, error) {
	o := options{reserve: reserveBytes}
	for _, f := range opts {
		f(&o)
	}
	if OnServer(database) {
		return openPostgres(ctx, database, o)
	}
	return openSQLite(ctx, database, o)
}

// prepare brings schema, leases and reserve into order.
func (s *Store) prepare(ctx context.Context, dialect goose.Dialect, migrations fs.FS, existing bool) error {
	if err := migrate(ctx, s.writer.DB, dialect, migrations, existing); err != nil {
		return err
	}
	err := s.transact(ctx, alone, func(tx *Tx) error { return tx.clampLeases(ctx) })
	if err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	if err := s.reserve.restore(); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	return nil
}

// migrate takes the schema forward. Its numbers are the same on both databases.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, migrations fs.FS, existing bool) error {
	p, err := goose.NewProvider(dialect, db, migrations)
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	have, newest, err := p.GetVersions(ctx)
	if err != nil {
		return failed("migrate", err)
	}
	if have == 0 && existing {
		return failed("open", ErrNotFound)
	}
	if have > newest {
		return fmt.Errorf("store: the database has schema %d, this version knows up to %d: a newer version has written it", have, newest)
	}
	if have == newest {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return failed("migrate", err)
	}
	return nil
}
