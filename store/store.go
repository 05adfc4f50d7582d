// Package store keeps the nouns of holdfast in a SQL database: one file a noun,
// queries that PostgreSQL runs too, and one file (sqlite.go) for what SQLite
// does its own way. Rows go in and come out as the root package's types.
package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

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
	// ErrBusy: another process kept the database locked for too long.
	ErrBusy = errors.New("store: the database is busy")
)

// Store is an open database. It is safe for concurrent use. Reads go directly;
// writes need a transaction: Tx or TxUrgent.
type Store struct {
	queries
	writer  *bun.DB
	reader  *bun.DB
	clock   *clock
	reserve *reserve

	mu     sync.Mutex
	queued chan struct{} // closed when an operation has been queued
}

// queries are the reads; they work on the pool and in a transaction alike.
type queries struct {
	db    bun.IDB
	clock *clock
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

// maxTries bounds how often a transaction is tried while the database is busy;
// each try waits for busyTimeout already.
const maxTries = 6

// Tx runs fn in one transaction that is written durably when Tx returns nil and
// not at all otherwise. fn may run more than once: it must have no effect but
// through tx. While the reserve is in use (see TxUrgent) Tx fails with ErrFull.
func (s *Store) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	if err := s.reserve.restore(); err != nil {
		return err
	}
	return s.transact(ctx, fn)
}

// TxUrgent is Tx for what must work on a full disk too: deletions, and the
// bookkeeping of running operations. It gives up the reserve when it has to.
func (s *Store) TxUrgent(ctx context.Context, fn func(tx *Tx) error) error {
	err := s.transact(ctx, fn)
	if !errors.Is(err, ErrFull) {
		return err
	}
	if rerr := s.reserve.release(); rerr != nil {
		return errors.Join(err, rerr)
	}
	return s.transact(ctx, fn)
}

func (s *Store) transact(ctx context.Context, fn func(tx *Tx) error) error {
	var err error
	for try := range maxTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return errors.Join(context.Cause(ctx), err)
			case <-time.After(time.Duration(1<<try)*5*time.Millisecond + rand.N(10*time.Millisecond)): //nolint:gosec // spreads tries, guards nothing
			}
		}
		tx := &Tx{}
		err = classify(s.writer.RunInTx(ctx, nil, func(_ context.Context, btx bun.Tx) error {
			tx.queries = queries{db: btx, clock: s.clock}
			return fn(tx)
		}))
		if err == nil && tx.queued {
			s.signalQueued()
		}
		if !errors.Is(err, ErrBusy) {
			return err
		}
	}
	return err
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

// Now is the database's wall clock: for times that are shown or compared with
// other times of the world. Leases use LeaseNow.
func (q *queries) Now(context.Context) (time.Time, error) { return q.clock.wall(), nil }

// LeaseNow is the database's clock for leases and delays. It runs evenly
// whatever happens to the wall clock, so a jump of that expires no lease.
func (q *queries) LeaseNow(context.Context) (time.Time, error) { return q.clock.lease(), nil }

// failed adds to a failure where it happened, and what kind it is.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: %s: %w", op, classify(err))
}
