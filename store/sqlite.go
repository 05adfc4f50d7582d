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
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// This file is all that is SQLite's own: how it is opened and scrubbed, and what
// its errors mean.

//go:embed migrations/sqlite/*.sql
var sqliteMigrations embed.FS

const (
	busyTimeout = 5 * time.Second
	readers     = 4
)

// openSQLite opens the database at path, creating it readable by its owner alone.
func openSQLite(ctx context.Context, path string, o options) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	flags := os.O_CREATE | os.O_RDWR
	if o.existing {
		flags = os.O_RDWR
	}
	// SQLite gives its side files the mode of the database.
	f, err := os.OpenFile(path, flags, 0o600) //nolint:gosec // the operator chooses the path
	if errors.Is(err, fs.ErrNotExist) && o.existing {
		return nil, fmt.Errorf("store: open: %w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	migrations, err := fs.Sub(sqliteMigrations, "migrations/sqlite")
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	s := &Store{reserve: newReserve(path+".reserve", o.reserve), queued: make(chan struct{})}
	if s.writer, err = openHandle(path, "immediate", 1, "foreign_keys(1)", "secure_delete(1)"); err != nil {
		return nil, failed("open", err)
	}
	// The readers cannot write, even by mistake.
	if s.reader, err = openHandle(path, "deferred", readers, "foreign_keys(1)", "query_only(1)"); err != nil {
		return nil, errors.Join(failed("open", err), s.writer.Close())
	}
	s.queries = queries{db: s.reader, clock: newProcessClock(o)}
	if err := s.prepare(ctx, goose.DialectSQLite3, migrations, false); err != nil {
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
	return bun.NewDB(db, liteDialect{sqlitedialect.New()}), nil
}

// liteDialect is SQLite's, but for NUL in strings; see withoutNUL.
type liteDialect struct{ *sqlitedialect.Dialect }

// AppendString appends s as a literal.
func (d liteDialect) AppendString(b []byte, s string) []byte {
	return d.Dialect.AppendString(b, withoutNUL(s))
}

// scrubTime is how long Scrub waits for readers of other processes, which keep
// the log from being cut.
const scrubTime = 30 * time.Second

// scrubSQLite overwrites what was deleted: it writes the database anew, and cuts the
// write-ahead log. Deleted values are zeroed at once since schema 2, but a page
// that was rearranged may keep an older copy. It takes as much free space as the
// database, and locks it for as long as writing that takes.
func (s *Store) scrubSQLite(ctx context.Context) error {
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

// sqliteKind is what an error of SQLite means; nil if that is nothing special.
func sqliteKind(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return nil
	}
	switch code := e.Code(); {
	case code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return ErrConflict
	case code&0xff == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_IOERR_WRITE, code == sqlite3.SQLITE_IOERR_FSYNC,
		code == sqlite3.SQLITE_IOERR_TRUNCATE, code == sqlite3.SQLITE_IOERR_SHMSIZE, code == sqlite3.SQLITE_IOERR_SHMMAP:
		return ErrFull
	case code&0xff == sqlite3.SQLITE_INTERRUPT:
		return context.Canceled
	case code&0xff == sqlite3.SQLITE_BUSY, code&0xff == sqlite3.SQLITE_LOCKED:
		return ErrBusy
	}
	return nil
}
