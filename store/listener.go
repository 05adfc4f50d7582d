package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
)

// channel is where processes tell each other, through PostgreSQL, that an operation
// was queued.
const channel = "holdfast_queued"

// announce tells the other processes, when the transaction is committed. On SQLite
// there are none that work.
func (s *Store) announce(ctx context.Context, tx bun.Tx) error {
	if !s.onServer() {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_notify(?, '')", channel)
	return failed("announce", err)
}

// listener keeps a connection: to hear what other processes announce, and to be
// seen by them.
type listener struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// keep makes a connection, begins with it, and makes another one each time that it
// is lost, until stop. Only the first failure is told. heard is called at every
// announcement, and after each time that some may have been missed.
func keep(ctx context.Context, cfg *pgx.ConnConfig, begin func(context.Context, *pgx.Conn) error, heard func()) (*listener, error) {
	conn, err := reach(ctx, cfg, begin)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			if err == nil {
				wait = time.Second
				hear(ctx, conn, heard)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait): // runners look by themselves meanwhile
			}
			if conn, err = reach(ctx, cfg, begin); err == nil {
				heard()
			}
		}
	}()
	return l, nil
}

func reach(ctx context.Context, cfg *pgx.ConnConfig, begin func(context.Context, *pgx.Conn) error) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return nil, err
	}
	if err := begin(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return conn, nil
}

// hear listens for as long as the connection lasts.
func hear(ctx context.Context, conn *pgx.Conn, heard func()) {
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			break
		}
		heard()
	}
	// What is left of it ends with the connection, but not at once.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
	_ = conn.Close(ctx) // nothing is lost with it
}

func (l *listener) stop() {
	l.cancel()
	<-l.done
}
