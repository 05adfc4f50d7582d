package backup

import (
	"errors"

	"holdfast"
	"holdfast/disk"
	"holdfast/machine"
	"holdfast/vault"
	"holdfast/vault/blob"
)

// explain turns what the lower layers say into what a user may be told.
func explain(op string, err error) error {
	var damaged *vault.DamagedError
	switch {
	case errors.Is(err, blob.ErrNoSpace):
		return holdfast.Wrap(holdfast.CodeSiteFull, op, "The place of the backups is full. Delete backups that are no longer needed, or ask the operator to add space; the VPS ran on.", err)
	case errors.As(err, &damaged):
		return holdfast.Wrap(holdfast.CodeBackupDamaged, op, "The backup does not verify, so it was not used. Restore another one, and tell the operator.", err)
	}
	if mapped := machine.Explain(op, err); mapped != err { //nolint:errorlint // is it the very same value?
		return mapped
	}
	if errors.Is(err, disk.ErrPointLost) {
		return holdfast.Wrap(holdfast.CodeVPSStateChanged, op, "The VPS was stopped, restarted or lost several times during the backup. Try again when it is calm.", err)
	}
	return err
}
