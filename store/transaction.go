package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/uptrace/bun"
)

// isolation says what transactions see of each other. SQLite has one writer, so
// there it is always alone.
type isolation int

const (
	alone  isolation = iota // as if there were no others: SERIALIZABLE
	beside                  // each statement sees what is committed: READ COMMITTED
)

// maxTries bounds how often a transaction is tried while others are in its way. On
// SQLite each try waits for busyTimeout already.
const maxTries = 8

// transact runs fn in a transaction until nobody is in its way.
func (s *Store) transact(ctx context.Context, how isolation, fn func(tx *Tx) error) error {
	var err error
	for try := range maxTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return errors.Join(context.Cause(ctx), err)
			case <-time.After(pause(try)):
			}
		}
		queued := false
		once := func(ctx context.Context, on beginner) error {
			tx := &Tx{}
			err := on.RunInTx(ctx, s.txOptions(how), func(ctx context.Context, btx bun.Tx) error {
				tx.queries = queries{db: btx, clock: s.clock}
				if err := fn(tx); err != nil || !tx.queued {
					return err
				}
				return s.announce(ctx, btx)
			})
			queued = tx.queued
			return classify(err)
		}
		if try > 0 && s.onServer() {
			err = s.inTurn(ctx, retriesLock, once)
		} else {
			err = once(ctx, s.writer)
		}
		if err == nil && queued {
			s.signalQueued()
		}
		if !errors.Is(err, ErrBusy) {
			return err
		}
	}
	return err
}

// pause is how long to wait before a try; the spread keeps those who met from
// meeting again.
func pause(try int) time.Duration {
	return time.Duration(1<<min(try, 5))*2*time.Millisecond + rand.N(5*time.Millisecond) //nolint:gosec // guards nothing
}

type beginner interface {
	RunInTx(ctx context.Context, opts *sql.TxOptions, fn func(ctx context.Context, tx bun.Tx) error) error
}

func (s *Store) txOptions(how isolation) *sql.TxOptions {
	if how == alone && s.onServer() {
		return &sql.TxOptions{Isolation: sql.LevelSerializable}
	}
	return nil
}

// Locks of the whole database that transactions and migrations take: any numbers
// that nobody else's program would think of.
const (
	retriesLock = 0x686f6c6466617374
	migrateLock = retriesLock + 1
)

// inTurn runs do while no other process runs another one under the same lock, on a
// connection of its own. It is for PostgreSQL.
//
// Transactions that others got into the way of would, if all tried again at once,
// meet again: in turn each meets at most those that try for the first time.
func (s *Store) inTurn(ctx context.Context, lock int64, do func(ctx context.Context, on beginner) error) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return classify(err)
	}
	defer func() { _ = conn.Close() }() // back to the pool
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock(?)", lock); err != nil {
		return classify(err)
	}
	err = do(ctx, conn)
	// Without the lock's end the connection must not be used again; its end is the
	// lock's.
	if _, uerr := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(?)", lock); uerr != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	return err
}
