package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// This file is all that is PostgreSQL's own: how it is opened and scrubbed, and what
// its errors mean.

//go:embed migrations/postgres/*.sql
var postgresMigrations embed.FS

// How many connections of each kind a process has, beside one that listens.
const (
	serverWriters = 8
	serverReaders = 8
)

// pgDialect is PostgreSQL's, but for NUL in strings; see withoutNUL.
type pgDialect struct{ *pgdialect.Dialect }

// AppendString appends s as a literal.
func (d pgDialect) AppendString(b []byte, s string) []byte {
	return d.Dialect.AppendString(b, withoutNUL(s))
}

// openPostgres opens a database of a server. Clocks that o replaces are those of
// this process.
func openPostgres(ctx context.Context, url string, o options) (*Store, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err) // pgx leaves the password out
	}
	migrations, err := fs.Sub(postgresMigrations, "migrations/postgres")
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	configure(cfg)
	s := &Store{reserve: newReserve("", 0), queued: make(chan struct{})}
	s.writer = serverHandle(cfg, serverWriters)
	readOnly := cfg.Copy()
	readOnly.RuntimeParams["default_transaction_read_only"] = "on"
	s.reader = serverHandle(readOnly, serverReaders)
	s.queries = queries{db: s.reader, clock: newServerClock()}
	if o.wall != nil || o.steady != nil {
		s.clock = newProcessClock(o)
	}
	err = s.checkServer(ctx)
	if err == nil {
		// Of processes that start together one migrates.
		err = s.inTurn(ctx, migrateLock, func(ctx context.Context, _ beginner) error {
			return s.prepare(ctx, goose.DialectPostgres, migrations, o.existing)
		})
	}
	if err == nil {
		s.listen, err = keep(ctx, cfg, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "LISTEN "+channel)
			return err
		}, s.signalQueued)
	}
	if err != nil {
		return nil, errors.Join(failed("open", err), s.Close())
	}
	s.config = cfg
	return s, nil
}

// configure sets what our statements rely on, whatever the server's settings are.
func configure(cfg *pgx.ConnConfig) {
	// bun writes values into the text of a statement, so preparing it is of no use,
	// and its literals are right only with these two.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.RuntimeParams["standard_conforming_strings"] = "on"
	cfg.RuntimeParams["client_encoding"] = "UTF8"
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "holdfast"
	}
	// Nobody waits for ever: not for a lock, and not for a process that hangs.
	cfg.RuntimeParams["lock_timeout"] = fmt.Sprint(lockTimeout.Milliseconds())
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(time.Minute.Milliseconds())
	// Reading a small table as a whole is cheap, and in the way of everybody who
	// writes to it: serializable transactions are held to what they have read.
	cfg.RuntimeParams["enable_seqscan"] = "off"
	cfg.RuntimeParams["jit"] = "off" // of plans that seem dear by that
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
}

const lockTimeout = 5 * time.Second

func serverHandle(cfg *pgx.ConnConfig, conns int) *bun.DB {
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		// What a transaction has promised must outlive the server.
		_, err := conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
		return err
	}))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return bun.NewDB(db, pgDialect{pgdialect.New()})
}

// checkServer refuses a server that cannot keep what we write.
func (s *Store) checkServer(ctx context.Context) error {
	var encoding string
	var version int
	err := s.writer.QueryRowContext(ctx, "SELECT current_setting('server_encoding'), CAST(current_setting('server_version_num') AS INT)").Scan(&encoding, &version)
	switch {
	case err != nil:
		return failed("open", err)
	case encoding != "UTF8":
		return fmt.Errorf("store: open: the database's encoding is %s; make one with ENCODING 'UTF8' TEMPLATE template0", encoding)
	case version < oldestServer:
		return fmt.Errorf("store: open: the server's version is %d.%d; %d is the oldest that will do", version/10000, version%10000, oldestServer/10000)
	}
	return nil
}

// oldestServer is the oldest that is tested: Debian 12's.
const oldestServer = 150000

func (s *Store) onServer() bool { return s.writer.Dialect().Name() == dialect.PG }

// forClaim locks the row that a claim takes, and passes by those that another claim
// has locked.
func forClaim(q *bun.SelectQuery) *bun.SelectQuery {
	if q.Dialect().Name() != dialect.PG { // SQLite has one writer
		return q
	}
	return q.For("UPDATE SKIP LOCKED")
}

// Scrub overwrites what was deleted, and says whether it is gone for certain: on
// PostgreSQL the table is written anew, but the server's log, and whatever is made
// of that, keep older copies that are not ours to overwrite.
func (s *Store) Scrub(ctx context.Context) (certain bool, err error) {
	if !s.onServer() {
		err := s.scrubSQLite(ctx)
		return err == nil, err
	}
	_, err = s.writer.ExecContext(ctx, "VACUUM (FULL) accounts")
	return false, failed("scrub", err)
}

// postgresKind is what an error of PostgreSQL, or of the way to it, means; nil if
// that is nothing special.
func postgresKind(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		if lost(err) {
			return ErrUnreachable
		}
		return nil
	}
	switch e.Code {
	case "23505": // unique_violation
		return ErrConflict
	case "40001", "40P01", "55P03", "53300": // serialization_failure, deadlock_detected, lock_not_available, too_many_connections
		return ErrBusy
	case "53100": // disk_full
		return ErrFull
	case "57014": // query_canceled
		return context.Canceled
	}
	switch e.Code[:min(len(e.Code), 2)] {
	case "08", "57": // connection_exception; admin_shutdown and its kin
		return ErrUnreachable
	}
	return nil
}

// lost reports whether an error is one of the connection.
func lost(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return errors.As(err, &connect) || errors.As(err, &network) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, sql.ErrConnDone)
}
