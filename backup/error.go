package backup

import (
	"errors"
	"fmt"
	"time"

	"holdfast"
	"holdfast/disk"
	"holdfast/machine"
	"holdfast/vault"
	"holdfast/vault/blob"
	"holdfast/vault/keys"
)

// errParent: the backup that the change tracking began with cannot be built on:
// it was deleted meanwhile, or is damaged. A point in time without it can be
// taken instead.
var errParent = errors.New("backup: the parent cannot be built on")

// explain turns what the lower layers say into what a user may be told.
func explain(op string, err error) error {
	if _, done := errors.AsType[*holdfast.Error](err); done {
		return err
	}
	if noSpace(err) {
		return holdfast.Wrap(holdfast.CodeSiteFull, op, "The place of the backups is full. Delete backups that are no longer needed, or ask the operator to add space; the VPS ran on.", err)
	}
	if _, damaged := errors.AsType[*vault.DamagedError](err); damaged {
		return holdfast.Wrap(holdfast.CodeBackupDamaged, op, damagedText, err)
	}
	if errors.Is(err, vault.ErrFormat) {
		return holdfast.Wrap(holdfast.CodeBackupDamaged, op, "The description of the account's vault does not verify, so nothing was done. Tell the operator.", err)
	}
	if locked, ok := errors.AsType[*vault.RetainedError](err); ok {
		return holdfast.Wrap(holdfast.CodeBackupLocked, op, "The backup is locked: nobody can delete it before "+locked.Until.UTC().Format(time.RFC3339)+".", err)
	}
	if errors.Is(err, vault.ErrStaleRing) {
		return holdfast.Wrap(holdfast.CodeBackupDamaged, op, "The place of the backups shows an old state of the account's keys, so nothing was written. Tell the operator.", err)
	}
	if errors.Is(err, vault.ErrNoBackup) || errors.Is(err, vault.ErrDeleted) || errors.Is(err, vault.ErrNoVault) {
		return holdfast.Wrap(holdfast.CodeBackupNotFound, op, "The backup is not there any more. Choose another one.", err)
	}
	if mapped := machine.Explain(op, err); mapped != err { //nolint:errorlint // is it the very same value?
		return mapped
	}
	if errors.Is(err, disk.ErrPointLost) {
		return holdfast.Wrap(holdfast.CodeVPSStateChanged, op, "The VPS was stopped, restarted or lost several times during the backup. Try again when it is calm.", err)
	}
	return err
}

// explainPlace is for what nobody asked for and only the operator sees: it names the
// place. What is not known to be final is taken for a place that fails for now.
func explainPlace(op, place string, err error) error {
	if _, done := errors.AsType[*holdfast.Error](err); done {
		return err
	}
	if locked, ok := errors.AsType[*vault.RetainedError](err); ok {
		return holdfast.Wrap(holdfast.CodeBackupLocked, op, "At "+place+" nobody can delete the backup before "+locked.Until.UTC().Format(time.RFC3339)+".", err)
	}
	_, damaged := errors.AsType[*vault.DamagedError](err)
	switch {
	case noSpace(err):
		return holdfast.Wrap(holdfast.CodeSiteFull, op, "The place "+place+" is full.", err)
	case damaged:
		return holdfast.Wrap(holdfast.CodeBackupDamaged, op, "The backup is damaged wherever it can be read. holdfast vault check says what is.", err)
	case errors.Is(err, vault.ErrNotACopy), errors.Is(err, vault.ErrFormat), errors.Is(err, keys.ErrWrongKey), vault.IsDamage(err):
		return holdfast.Wrap(holdfast.CodeBackupDamaged, op, "The account's vault at "+place+" is damaged, or not a copy of the one at the first place, so it was left alone.", err)
	case errors.Is(err, vault.ErrStaleRing):
		return holdfast.Wrap(holdfast.CodeBackupDamaged, op, "The place "+place+" shows an old state of the account's keys, so nothing was written. The next copy to it, or holdfast key rotate-data, brings it to the present one.", err)
	case errors.Is(err, vault.ErrNoBackup), errors.Is(err, vault.ErrDeleted), errors.Is(err, vault.ErrNoVault):
		return holdfast.Wrap(holdfast.CodeBackupNotFound, op, "There is no place that has the backup to be copied to "+place+".", err)
	}
	return holdfast.Wrap(holdfast.CodeUpstreamUnavailable, op, "The place "+place+" fails or does not answer.", err)
}

// noRoom is the refusal of a restore in place for which the host has too little
// room. need and room are bytes.
func noRoom(op string, need, room int64) error {
	return holdfast.Wrap(holdfast.CodeHostDiskFull, op, fmt.Sprintf("The host has room for %d MiB, and a restore in place needs %d MiB beside the disks that the VPS has now. Ask the operator to free space, or restore the backup to a new Cloud VM.",
		max(room, 0)>>20, need>>20), nil)
}

const damagedText = "The backup does not verify, so it was not used. Restore another one, and tell the operator."

// errManifest is the failure of a backup whose manifest is damaged. Only where a
// manifest is read can it be told from a storage or a disk that fails for now.
func errManifest(err error) error {
	return holdfast.Wrap(holdfast.CodeBackupDamaged, "backup.manifest", damagedText, err)
}

// noSpace: the place of the vault is full.
func noSpace(err error) bool { return errors.Is(err, blob.ErrNoSpace) }
