package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

type restoreToPaygBody struct {
	Name      *string `json:"name,omitzero" minLength:"3" maxLength:"63" pattern:"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$" doc:"Hostname label for the new Cloud VM. Generated when left out." example:"restore-web-01"`
	Region    *string `json:"region,omitzero" doc:"Region of the new Cloud VM. The default region when left out." example:"stockholm"`
	CPUCores  *int    `json:"cpuCores,omitzero" doc:"CPU cores. Mirrors the source VPS, within the range, when left out." example:"2"`
	MemoryGb  *int    `json:"memoryGb,omitzero" doc:"Memory in GiB. Mirrors the source VPS, within the range, when left out." example:"4"`
	StorageGb *int    `json:"storageGb,omitzero" doc:"Storage in GiB, at least the larger of the source's storage and the backup's size. Just that, within the range, when left out." example:"80"`
}

func (b *restoreToPaygBody) request() holdfast.PaygRequest {
	return holdfast.PaygRequest{Name: b.Name, Region: b.Region, CPUCores: b.CPUCores, MemoryGb: b.MemoryGb, StorageGb: b.StorageGb}
}

func (s *server) registerRestore() {
	registerCommand(s, scopes(holdfast.ScopeBackupVM, holdfast.ScopeWriteBilling), huma.Operation{
		OperationID: "restoreBackupToPayg", Method: http.MethodPost, Tags: []string{tagBackups},
		Path:    "/api/v2/vps/{id}/backups/{backupId}/actions/restore-to-payg",
		Summary: "Restore backup to a new Cloud VM",
		Description: "Create a new pay-as-you-go Cloud VM from one backup. The source VPS only proves ownership and locates the backup; it is not touched. " +
			"Check actions.canRestoreToPayg of GET /api/v2/vps/{id}/backups first. If the account cannot use Cloud VMs, the problem says which blocker is in the way.",
	}, "Restore to a new Cloud VM was queued.", command[backupPath, restoreToPaygBody]{
		check: func(ctx context.Context, caller control.Caller, p *backupPath, b *restoreToPaygBody) ([]holdfast.Field, error) {
			return s.control.CheckRestore(ctx, caller, p.ID, p.BackupID, b.request())
		},
		do: func(ctx context.Context, caller control.Caller, p *backupPath, b *restoreToPaygBody, once *control.Once) (control.Accepted, error) {
			return s.control.RestoreToPayg(ctx, caller, p.ID, p.BackupID, b.request(), once)
		},
	})
}

func (s *server) registerRestoreInPlace() {
	registerCommand(s, scopes(holdfast.ScopeBackupVM), huma.Operation{
		OperationID: "restoreBackup", Method: http.MethodPost, Tags: []string{tagBackups},
		Path:    "/api/v2/vps/{id}/backups/{backupId}/actions/restore",
		Summary: "Restore backup in place",
		Description: "Replace all disks of a VPS by those of one of its backups. What was written since the backup is lost; the disks from before are kept for a day, and " +
			"POST /api/v2/vps/{id}/actions/undo-restore brings them back. The new disks are written and read back while the VPS runs; then it is stopped, its disks are " +
			"replaced, and it is started again if it ran. Power actions are refused meanwhile. Check actions.canRestoreInPlace of GET /api/v2/vps/{id}/backups first.",
	}, "Restore in place was queued.", command[backupPath, noBody]{
		check: func(ctx context.Context, caller control.Caller, p *backupPath, _ *noBody) ([]holdfast.Field, error) {
			return nil, s.control.OwnBackup(ctx, caller, p.ID, p.BackupID)
		},
		do: func(ctx context.Context, caller control.Caller, p *backupPath, _ *noBody, once *control.Once) (control.Accepted, error) {
			return s.control.RestoreInPlace(ctx, caller, p.ID, p.BackupID, once)
		},
	})
	registerCommand(s, scopes(holdfast.ScopeBackupVM), huma.Operation{
		OperationID: "undoRestore", Method: http.MethodPost, Path: "/api/v2/vps/{id}/actions/undo-restore", Tags: []string{tagBackups},
		Summary: "Undo the last restore in place",
		Description: "Bring back the disks, with their snapshots, that a VPS had before its last restore in place. What was written since the restore is lost. " +
			"The VPS is stopped, its disks are replaced, and it is started again if it ran. Refused with nothing_to_undo when those disks are not kept any more.",
	}, "Undo was queued.", command[vpsPath, noBody]{
		check: func(ctx context.Context, caller control.Caller, p *vpsPath, _ *noBody) ([]holdfast.Field, error) {
			return nil, s.control.OwnVPS(ctx, caller, p.ID)
		},
		do: func(ctx context.Context, caller control.Caller, p *vpsPath, _ *noBody, once *control.Once) (control.Accepted, error) {
			return s.control.UndoRestore(ctx, caller, p.ID, once)
		},
	})
}
