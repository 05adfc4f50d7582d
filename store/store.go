// Package store keeps the nouns of holdfast in a SQL database, SQLite or PostgreSQL:
// one file a noun with queries that both run, and a file for what each does its own
// way (sqlite.go, postgres.go). Rows go in and come out as the root package's types.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
)

var (
	// ErrNotFound: there is no such row, or it is another account's.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict: a unique rule forbids the row; for an operation, another one
	// holds its lock.
	ErrConflict = errors.New("store: in conflict with another row")
	// ErrFull: the database has no space left.
	ErrFull = errors.New("store: the database is full")
	// ErrBusy: others kept the database locked, or were in the way, for too long.
	// Nothing took effect.
	ErrBusy = errors.New("store: the database is busy")
	// ErrUnreachable: the database does not answer. If it went away while a
	// transaction was committed, nobody knows whether that took effect.
	ErrUnreachable = errors.New("store: the database does not answer")
)

// Store is an open database. It is safe for concurrent use. Reads go directly;
// writes need a transaction: Tx or TxUrgent.
type Store struct {
	queries
	writer  *bun.DB
	reader  *bun.DB
	reserve *reserve

	// These are nil on SQLite.
	config   *pgx.ConnConfig
	listen   *listener
	presence *listener // nil too unless Appear was called

	mu     sync.Mutex
	queued chan struct{} // closed when an operation has been queued
}

// queries are the reads; they work on the pool and in a transaction alike.
type queries struct {
	db    bun.IDB
	clock clock
}

// Queries are the reads alone: what a rule needs that is asked both of the pool
// and within a transaction. Store and Tx both have them.
type Queries = queries

// Queries gives the reads of a store, or of a transaction.
func (q *queries) Queries() *Queries { return q }

// Tx is a transaction that writes. Its reads see its own writes; those of the
// Store do not, and another transaction would wait for this one for ever. It
// must not be used after its function has returned.
type Tx struct {
	queries
	queued bool
}

// Tx runs fn in one transaction that is written durably when Tx returns nil and
// not at all otherwise. Transactions take effect as if they ran one after another:
// what fn has read holds when it writes. fn may run more than once: it must have no
// effect but through tx, and give back the error of a failed call. While the
// reserve is in use (see TxUrgent) Tx fails with ErrFull.
func (s *Store) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	if err := s.reserve.restore(); err != nil {
		return err
	}
	return s.transact(ctx, alone, fn)
}

// TxUrgent is Tx for what must work on a full disk too: deletions, and the
// bookkeeping of running operations. It gives up the reserve when it has to.
func (s *Store) TxUrgent(ctx context.Context, fn func(tx *Tx) error) error {
	return s.urgent(ctx, alone, fn)
}

// TxLease is TxUrgent for claims, renewals and counters: each of their statements
// proves by itself what it needs, so on PostgreSQL they do not get into each
// other's way. What fn has read may have changed when it writes.
func (s *Store) TxLease(ctx context.Context, fn func(tx *Tx) error) error {
	return s.urgent(ctx, beside, fn)
}

func (s *Store) urgent(ctx context.Context, how isolation, fn func(tx *Tx) error) error {
	err := s.transact(ctx, how, fn)
	if !errors.Is(err, ErrFull) {
		return err
	}
	if rerr := s.reserve.release(); rerr != nil {
		return errors.Join(err, rerr)
	}
	return s.transact(ctx, how, fn)
}

// Queued is closed when an operation is queued, or given back, through this
// Store. Take the channel before looking for work, and a new one each time.
func (s *Store) Queued() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

func (s *Store) signalQueued() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.queued)
	s.queued = make(chan struct{})
}

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return classify(s.reader.PingContext(ctx))
}

// Close closes the database. The reserve stays in its place.
func (s *Store) Close() error {
	var errs []error
	for _, l := range []*listener{s.listen, s.presence} {
		if l != nil {
			l.stop()
		}
	}
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	return errors.Join(append(errs, s.writer.Close())...)
}

// Now is the database's wall clock: for times that are shown or compared with
// other times of the world. Leases use LeaseNow.
func (q *queries) Now(ctx context.Context) (time.Time, error) { return q.clock.wall(ctx, q.db) }

// LeaseNow is the database's clock for leases and delays. A jump of the wall clock
// expires no lease: on SQLite this one runs evenly, and on PostgreSQL nothing is
// taken over for a while when it has not.
func (q *queries) LeaseNow(ctx context.Context) (time.Time, error) { return q.clock.lease(ctx, q.db) }

// nowBoth is LeaseNow and Now, as they are stored.
func (q *queries) nowBoth(ctx context.Context) (lease, wall micros, err error) {
	l, err := q.LeaseNow(ctx)
	if err != nil {
		return 0, 0, err
	}
	w, err := q.Now(ctx)
	return toMicros(l), toMicros(w), err
}

// failed adds to a failure where it happened, and what kind it is.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: %s: %w", op, classify(err))
}

// classify gives a driver's error its sentinel, and keeps the error.
func classify(err error) error {
	for _, known := range []error{ErrNotFound, ErrConflict, ErrFull, ErrBusy, ErrUnreachable} {
		if errors.Is(err, known) {
			return err
		}
	}
	kind := sqliteKind(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		kind = ErrNotFound
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = ErrFull
	case kind == nil:
		kind = postgresKind(err)
	}
	if kind == nil {
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// withoutNUL is s with the replacement character for each NUL, which no database of
// ours takes and anyone may send: so it is written, and looked for, as bytes that
// are not UTF-8 are.
func withoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }
