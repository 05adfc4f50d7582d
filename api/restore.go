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
