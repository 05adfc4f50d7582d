package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

type backupItem struct {
	ID           string               `json:"id" example:"bkp_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	DisplayID    string               `json:"displayId" doc:"createdAt and storageKey, for people."`
	StorageKey   string               `json:"storageKey" doc:"The backup's name in the vault."`
	CreatedAt    *string              `json:"createdAt" format:"date-time" doc:"The instant of its data; null until it is completed."`
	SizeGb       float64              `json:"sizeGb" doc:"Size of all disks in GiB."`
	BackupType   string               `json:"backupType" enum:"manual,scheduled"`
	Note         *string              `json:"note"`
	Protected    bool                 `json:"protected"`
	Status       string               `json:"status" enum:"pending,completed" doc:"Only a completed backup can be restored."`
	Verification orNull[verification] `json:"verification" doc:"null until it has been looked at."`
	Encrypted    bool                 `json:"encrypted"`
}

type verification struct {
	State         string   `json:"state"`
	At            *string  `json:"at" format:"date-time"`
	BootSeconds   *float64 `json:"bootSeconds"`
	ScreenshotURL *string  `json:"screenshotUrl"`
}

type quotaInfo struct {
	Used      int  `json:"used" doc:"Running and completed backups."`
	Limit     *int `json:"limit" doc:"null: no limit."`
	Remaining *int `json:"remaining" doc:"null: no limit."`
}

type backupGates struct {
	CanCreateBackup          gate `json:"canCreateBackup"`
	CanRestore               gate `json:"canRestore" doc:"Shut only for reasons that every kind of restore has in common."`
	CanRestoreFromAnotherVps gate `json:"canRestoreFromAnotherVps"`
	CanRestoreInPlace        gate `json:"canRestoreInPlace"`
	CanRestoreToPayg         gate `json:"canRestoreToPayg"`
	CanDelete                gate `json:"canDelete"`
}

type listBackupsOutput struct {
	Body struct {
		Backups   []backupItem `json:"backups"`
		QuotaInfo quotaInfo    `json:"quotaInfo"`
		Actions   backupGates  `json:"actions"`
	}
}

type backupPath struct {
	ID       string `path:"id" doc:"Public VPS id from GET /api/v2/vps data[].id." example:"vps_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	BackupID string `path:"backupId" doc:"Public backup id from GET /api/v2/vps/{id}/backups backups[].id." example:"bkp_01hxa3b4c5d6e7f8g9h0j1k2m3"`
}

type createBackupBody struct {
	Note *string `json:"note,omitzero" maxLength:"500" doc:"Words to find the backup again by." example:"Before upgrade"`
}

func (s *server) registerBackups() {
	register(s, scopes(holdfast.ScopeReadVM), huma.Operation{
		OperationID: "listBackups", Method: http.MethodGet, Path: "/api/v2/vps/{id}/backups", Tags: []string{tagBackups},
		Summary:     "List VPS backups",
		Description: "The backups of a VPS, the newest first, with the use of its slots and the gates of what can be done with them.",
	}, s.listBackups)
	registerCommand(s, scopes(holdfast.ScopeBackupVM), huma.Operation{
		OperationID: "createBackup", Method: http.MethodPost, Path: "/api/v2/vps/{id}/backups", Tags: []string{tagBackups},
		Summary: "Create VPS backup",
		Description: "Queue a manual offsite backup of all disks of a VPS at one instant. The body is optional: leave it out, or send only a note. " +
			"Check actions.canCreateBackup of GET /api/v2/vps/{id}/backups first, and poll the job that is answered.",
	}, "Backup operation queued.", command[vpsPath, createBackupBody]{
		check: func(ctx context.Context, caller control.Caller, p *vpsPath, b *createBackupBody) ([]holdfast.Field, error) {
			return s.control.CheckNote(text(b.Note)), s.control.OwnVPS(ctx, caller, p.ID)
		},
		do: func(ctx context.Context, caller control.Caller, p *vpsPath, b *createBackupBody, once *control.Once) (control.Accepted, error) {
			return s.control.CreateBackup(ctx, caller, p.ID, text(b.Note), once)
		},
	})
	register(s, scopes(holdfast.ScopeBackupVM), huma.Operation{
		OperationID: "deleteBackup", Method: http.MethodDelete, Path: "/api/v2/vps/{id}/backups/{backupId}", Tags: []string{tagBackups},
		DefaultStatus: http.StatusNoContent,
		Summary:       "Delete a backup",
		Description:   "The backup is gone at once; its space is freed in the background. A protected backup, and one that is in use, is refused.",
	}, func(ctx context.Context, x *exchange, in *backupPath) (*struct{}, error) {
		return nil, s.control.DeleteBackup(ctx, *x.caller, in.ID, in.BackupID)
	})
}

func (s *server) listBackups(ctx context.Context, x *exchange, in *vpsPath) (*listBackupsOutput, error) {
	list, err := s.control.ListBackups(ctx, *x.caller, in.ID)
	if err != nil {
		return nil, err
	}
	out := &listBackupsOutput{}
	out.Body.Backups = []backupItem{}
	for _, b := range list.Backups {
		out.Body.Backups = append(out.Body.Backups, backupItemOf(b))
	}
	out.Body.QuotaInfo.Used = list.Quota.Used
	if left, limited := list.Quota.Remaining(); limited {
		out.Body.QuotaInfo.Limit, out.Body.QuotaInfo.Remaining = &list.Quota.Limit, &left
	}
	g := list.Gates
	out.Body.Actions = backupGates{
		gateOf(g.Create), gateOf(g.Restore), gateOf(g.RestoreFromAnotherVPS),
		gateOf(g.RestoreInPlace), gateOf(g.RestoreToPayg), gateOf(g.Delete),
	}
	return out, nil
}

func backupItemOf(b holdfast.Backup) backupItem {
	out := backupItem{
		ID: b.ID.String(), StorageKey: b.ID.String(), CreatedAt: wireTimeOrNull(b.PointAt), SizeGb: control.SizeGb(b.SizeBytes),
		BackupType: b.Type, Note: textOrNull(b.Note), Protected: b.Protected, Status: string(b.Status), Encrypted: true,
	}
	when := "pending"
	if out.CreatedAt != nil {
		when = *out.CreatedAt
	}
	out.DisplayID = when + " (" + out.StorageKey + ")"
	return out
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
