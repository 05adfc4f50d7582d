package store

import "context"

// TryWriteByReader writes through the read pool, which must refuse.
func (s *Store) TryWriteByReader(ctx context.Context) error {
	_, err := s.reader.ExecContext(ctx, "INSERT INTO meta VALUES ('x', 'y')")
	return err
}
