package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

type restoreSource struct {
	ID            string         `json:"id" example:"vps_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	Name          string         `json:"name" example:"web-01"`
	ServiceStatus string         `json:"serviceStatus" enum:"active,suspended,terminated,pending,cancelled,expired,fraud,unknown"`
	SourceType    string         `json:"sourceType" enum:"server,retained" doc:"retained: the VPS is terminated, and its backups are kept."`
	Backups       []sourceBackup `json:"backups" doc:"Completed backups, the newest first."`
}

type sourceBackup struct {
	ID         string  `json:"id" example:"bkp_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	DisplayID  string  `json:"displayId" doc:"createdAt and storageKey, for people."`
	StorageKey string  `json:"storageKey" doc:"The backup's name in the vault."`
	CreatedAt  *string `json:"createdAt" format:"date-time" doc:"The instant of its data."`
	SizeGb     float64 `json:"sizeGb" doc:"Size of all disks in GiB."`
	BackupType string  `json:"backupType" enum:"manual,scheduled"`
	Note       *string `json:"note"`
}

type restoreSourcesOutput struct {
	Body struct {
		Sources []restoreSource `json:"sources"`
	}
}

type restoreFromVPSBody struct {
	SourceVPSID string `json:"sourceVpsId" minLength:"1" doc:"Another VPS of the account, from GET /api/v2/vps/{id}/backups/restore-sources sources[].id." example:"vps_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	BackupID    string `json:"backupId" minLength:"1" doc:"A backup of that VPS." example:"bkp_01hxa3b4c5d6e7f8g9h0j1k2m3"`
}

func (b *restoreFromVPSBody) from() control.FromVPS {
	return control.FromVPS{SourceVPS: b.SourceVPSID, Backup: b.BackupID}
}

func (s *server) registerRestoreFrom() {
	register(s, scopes(holdfast.ScopeReadVM), huma.Operation{
		OperationID: "listRestoreSources", Method: http.MethodGet, Path: "/api/v2/vps/{id}/backups/restore-sources", Tags: []string{tagBackups},
		Summary:     "List restore sources",
		Description: "The other VPSs of the account whose backups this VPS can be restored from, the newest first; terminated ones for as long as their backups are kept.",
	}, s.listRestoreSources)
	registerCommand(s, scopes(holdfast.ScopeBackupVM), huma.Operation{
		OperationID: "restoreFromVps", Method: http.MethodPost, Path: "/api/v2/vps/{id}/backups/actions/restore-from-vps", Tags: []string{tagBackups},
		Summary: "Restore a backup of another VPS in place",
		Description: "Replace all disks of a VPS by those of a backup of another VPS of the account, which may be terminated. The VPS keeps its name, network card and addresses; " +
			"cloud-init applies them at the next start, as in a new VPS. Its storage must be at least the backup's size. Otherwise like restoring in place, undo-restore included. " +
			"Check actions.canRestoreFromAnotherVps of GET /api/v2/vps/{id}/backups first.",
	}, "Restore from another VPS was queued.", command[vpsPath, restoreFromVPSBody]{
		check: func(ctx context.Context, caller control.Caller, p *vpsPath, b *restoreFromVPSBody) ([]holdfast.Field, error) {
			return s.control.CheckFromVPS(ctx, caller, p.ID, b.from())
		},
		do: func(ctx context.Context, caller control.Caller, p *vpsPath, b *restoreFromVPSBody, once *control.Once) (control.Accepted, error) {
			return s.control.RestoreFromVPS(ctx, caller, p.ID, b.from(), once)
		},
	})
}

func (s *server) listRestoreSources(ctx context.Context, x *exchange, in *vpsPath) (*restoreSourcesOutput, error) {
	sources, err := s.control.RestoreSources(ctx, *x.caller, in.ID)
	if err != nil {
		return nil, err
	}
	out := &restoreSourcesOutput{}
	out.Body.Sources = []restoreSource{}
	for _, from := range sources {
		source := restoreSource{ID: from.VPS.ID.String(), Name: from.VPS.Name, ServiceStatus: string(from.VPS.Service), SourceType: "server"}
		if from.VPS.Service == holdfast.ServiceTerminated {
			source.SourceType = "retained"
		}
		for _, b := range from.Backups {
			item := backupItemOf(b)
			source.Backups = append(source.Backups, sourceBackup{
				ID: item.ID, DisplayID: item.DisplayID, StorageKey: item.StorageKey, CreatedAt: item.CreatedAt,
				SizeGb: item.SizeGb, BackupType: item.BackupType, Note: item.Note,
			})
		}
		out.Body.Sources = append(out.Body.Sources, source)
	}
	return out, nil
}
