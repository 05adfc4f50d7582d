package store

import (
	"context"
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

// listener hears what other processes announce.
type listener struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// listen calls heard at every announcement, and after each time that some may have
// been missed, until stop.
func listen(cfg *pgx.ConnConfig, heard func()) *listener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, time.Minute) {
			if err := hear(ctx, cfg, heard); err == nil {
				wait = time.Second
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait): // runners look by themselves meanwhile
			}
		}
	}()
	return l
}

// hear listens for as long as the connection lasts; nil if there was one.
func hear(ctx context.Context, cfg *pgx.ConnConfig, heard func()) error {
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is lost with it
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for heard(); ; heard() {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return nil //nolint:nilerr // the connection ended; it has heard till then
		}
	}
}

func (l *listener) stop() {
	l.cancel()
	<-l.done
}
