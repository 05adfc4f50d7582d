package store

import (
	"context"
	"hash/fnv"

	"github.com/jackc/pgx/v5"
)

// Advisory locks of PostgreSQL of two numbers: the first says what is locked.
const (
	hostLocks    = 0x68666801 // by the name of a host, exclusive
	serviceLocks = 0x68667301 // by the mark of a service, shared
)

// Appear shows the other processes of a PostgreSQL database, until Close, that a
// service runs: as a host, which nobody else may be (ErrConflict), and with a mark
// of what it was started with. While the server is away it shows nothing. On SQLite
// it does nothing: there the lock of the data directory does.
func (s *Store) Appear(ctx context.Context, host, mark string) error {
	if !s.onServer() {
		return nil
	}
	var err error
	s.presence, err = keep(ctx, s.config, func(ctx context.Context, conn *pgx.Conn) error {
		var alone bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", int32(hostLocks), short(host)).Scan(&alone); err != nil {
			return err
		}
		if !alone {
			return ErrConflict
		}
		_, err := conn.Exec(ctx, "SELECT pg_advisory_lock_shared($1, $2)", int32(serviceLocks), short(mark))
		return err
	}, func() {})
	return failed("appear", err)
}

// Services says how many services have appeared, and whether all have a mark.
func (s *Store) Services(ctx context.Context, mark string) (n int, all bool, err error) {
	if !s.onServer() {
		return 0, true, nil
	}
	var same int
	err = s.reader.QueryRowContext(ctx, "SELECT COUNT(*), COUNT(CASE WHEN objid = CAST(? AS oid) THEN 1 END) FROM pg_locks"+
		" WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = CAST(? AS oid)"+
		" AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
		int64(uint32(short(mark))), int64(serviceLocks)).Scan(&n, &same) //nolint:gosec // the same 32 bits
	return n, n == same, failed("services", err)
}

// short tells texts apart in the space that a lock's name has. Two hosts whose names
// meet cannot run at once: one of them needs another name.
func short(s string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // it cannot fail
	return int32(h.Sum32())   //nolint:gosec // the same 32 bits
}
