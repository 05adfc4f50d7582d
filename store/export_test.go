package store

import (
	"context"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
)

// SchemaAt makes a database as version n left it, and runs statements on it.
func SchemaAt(ctx context.Context, path string, n int64, statements ...string) error {
	db, err := openHandle(path, "immediate", 1)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	dir, err := fs.Sub(sqliteMigrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.DB, dir)
	if err != nil {
		return err
	}
	if _, err := p.UpTo(ctx, n); err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// TryWriteByReader writes through the read pool, which must refuse.
func (s *Store) TryWriteByReader(ctx context.Context) error {
	_, err := s.reader.ExecContext(ctx, "INSERT INTO meta VALUES ('x', 'y')")
	return err
}

// PretendNewer makes the database one that a newer version has written.
func (s *Store) PretendNewer(ctx context.Context) error {
	_, err := s.writer.ExecContext(ctx, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)")
	return err
}

// FollowServer has the store follow the clock of a server, by a clock of its own.
func (s *Store) FollowServer(server func() time.Time, own func() time.Duration) {
	s.clock = &serverClock{steady: own, ask: func(context.Context, bun.IDB) (time.Time, error) { return server(), nil }}
}
