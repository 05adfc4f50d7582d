package backup

import (
	"context"

	"holdfast/operation"
)

// Delete is the handler of holdfast.KindBackupDelete: the backup can never come
// back, and its space is free after the next collection.
func (s *Service) Delete(ctx context.Context, run *operation.Run) (any, error) {
	v, err := s.Vaults.Open(ctx, run.Operation.AccountID)
	if err != nil {
		return nil, explain("backup.Delete", err)
	}
	if err := v.DeleteBackup(ctx, string(run.Operation.BackupID)); err != nil {
		return nil, explain("backup.Delete", err)
	}
	return struct{}{}, nil
}
