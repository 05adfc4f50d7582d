package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// This file is all that is SQLite's own: how it is opened, migrated and asked
// for the time, and what its errors mean.

//go:embed migrations/sqlite/*.sql
var sqliteMigrations embed.FS

const (
	busyTimeout = 5 * time.Second
	readers     = 4
)

// Option changes how a database is opened.
type Option func(*options)

type options struct {
	wall    func() time.Time
	steady  func() time.Duration
	reserve int64
}

// WithWallClock replaces the wall clock.
func WithWallClock(now func() time.Time) Option { return func(o *options) { o.wall = now } }

// WithSteadyClock replaces the monotonic clock that leases run by; it gives the
// time since some beginning.
func WithSteadyClock(since func() time.Duration) Option {
	return func(o *options) { o.steady = since }
}

// WithReserve sets the size of the reserve in bytes; 0: none.
func WithReserve(bytes int64) Option { return func(o *options) { o.reserve = bytes } }

// Open opens the SQLite database at path, creating it readable by its owner
// alone, and brings its schema up to date. A database that a newer version has
// written is refused.
func Open(ctx context.Context, path string, opts ...Option) (*Store, error) {
	begun := time.Now()
	o := options{wall: time.Now, steady: func() time.Duration { return time.Since(begun) }, reserve: reserveBytes}
	for _, f := range opts {
		f(&o)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	// SQLite gives its side files the mode of the database.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator chooses the path
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	s := &Store{clock: newClock(o.wall, o.steady), reserve: newReserve(path+".reserve", o.reserve), queued: make(chan struct{})}
	if s.writer, err = openHandle(path, "immediate", 1, "foreign_keys(1)", "secure_delete(1)"); err != nil {
		return nil, failed("open", err)
	}
	// The readers cannot write, even by mistake.
	if s.reader, err = openHandle(path, "deferred", readers, "foreign_keys(1)", "query_only(1)"); err != nil {
		return nil, errors.Join(failed("open", err), s.writer.Close())
	}
	s.queries = queries{db: s.reader, clock: s.clock}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openHandle(path, lock string, conns int, pragmas ...string) (*bun.DB, error) {
	q := url.Values{"_txlock": {lock}, "_time_format": {"sqlite"}, "_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)",
	}, pragmas...)}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return bun.NewDB(db, dialect{sqlitedialect.New()}), nil
}

// dialect is SQLite's, but for NUL in strings, which no database of ours takes
// and anyone may send: it is written, and looked for, as the replacement
// character, as bytes that are not UTF-8 are.
type dialect struct{ *sqlitedialect.Dialect }

// AppendString appends s as a literal.
func (d dialect) AppendString(b []byte, s string) []byte {
	return d.Dialect.AppendString(b, strings.ReplaceAll(s, "\x00", "\uFFFD"))
}

// prepare brings schema, leases and reserve into order.
func (s *Store) prepare(ctx context.Context) error {
	if err := migrate(ctx, s.writer.DB); err != nil {
		return err
	}
	err := s.transact(ctx, func(tx *Tx) error { return tx.clampLeases(ctx) })
	if err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	if err := s.reserve.restore(); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	return nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(sqliteMigrations, "migrations/sqlite")
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	have, newest, err := p.GetVersions(ctx)
	if err != nil {
		return failed("migrate", err)
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

// scrubTime is how long Scrub waits for readers of other processes, which keep
// the log from being cut.
const scrubTime = 30 * time.Second

// Scrub overwrites what was deleted: it writes the database anew, and cuts the
// write-ahead log. Deleted values are zeroed at once since schema 2, but a page
// that was rearranged may keep an older copy. It takes as much free space as the
// database, and locks it for as long as writing that takes.
func (s *Store) Scrub(ctx context.Context) error {
	if _, err := s.writer.ExecContext(ctx, "VACUUM"); err != nil {
		return failed("scrub", err)
	}
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	for {
		var busy, frames, done int
		if err := s.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done); err != nil {
			return failed("scrub", err)
		}
		if busy == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the log of the database is in use", ErrBusy)
		case <-time.After(50 * time.Millisecond): // nobody tells when a reader has ended
		}
	}
}

// Close closes the database. The reserve stays in its place.
func (s *Store) Close() error {
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	return errors.Join(append(errs, s.writer.Close())...)
}

// clock is the time of a database that lives in this process.
type clock struct {
	now    func() time.Time
	steady func() time.Duration
	begin  time.Time // what the wall clock said when steady was 0
}

func newClock(now func() time.Time, steady func() time.Duration) *clock {
	return &clock{now: now, steady: steady, begin: now().UTC().Add(-steady())}
}

func (c *clock) wall() time.Time { return c.now().UTC().Truncate(time.Microsecond) }

// lease begins where the wall clock stood when the database was opened, and
// runs on by the monotonic clock.
func (c *clock) lease() time.Time {
	return c.begin.Add(c.steady()).Truncate(time.Microsecond)
}

// forClaim locks the rows that a claim looks at; SQLite has one writer anyway.
func forClaim(q *bun.SelectQuery) *bun.SelectQuery { return q }

// classify gives a driver's error its sentinel, and keeps the error.
func classify(err error) error {
	for _, known := range []error{ErrNotFound, ErrConflict, ErrFull, ErrBusy} {
		if errors.Is(err, known) {
			return err
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch code := e.Code(); {
	case code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case code&0xff == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_IOERR_WRITE, code == sqlite3.SQLITE_IOERR_FSYNC,
		code == sqlite3.SQLITE_IOERR_TRUNCATE, code == sqlite3.SQLITE_IOERR_SHMSIZE, code == sqlite3.SQLITE_IOERR_SHMMAP:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case code&0xff == sqlite3.SQLITE_INTERRUPT:
		return fmt.Errorf("%w: %w", context.Canceled, err)
	case code&0xff == sqlite3.SQLITE_BUSY, code&0xff == sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}
