package store

import "context"

// TryWriteByReader writes through the read pool, which must refuse.
func (s *Store) TryWriteByReader(ctx context.Context) error {
	_, err := s.reader.ExecContext(ctx, "INSERT INTO meta VALUES ('x', 'y')")
	return err
}

// PretendNewer makes the database one that a newer version has written.
func (s *Store) PretendNewer(ctx context.Context) error {
	_, err := s.writer.ExecContext(ctx, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
	return err
}
