package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

type snapshotItem struct {
	DisplayID           string  `json:"displayId" doc:"The name, for people." example:"before-upgrade"`
	Name                string  `json:"name" doc:"The snapshot's id in paths." example:"before-upgrade"`
	Description         *string `json:"description"`
	CreatedAt           *string `json:"createdAt" format:"date-time" doc:"The instant of its data; null until it is taken."`
	ExpiresAt           *string `json:"expiresAt" format:"date-time" doc:"When it is deleted by itself; null until it is taken."`
	IncludesMemoryState bool    `json:"includesMemoryState" doc:"Always false: after a rollback the VPS boots."`
	ParentName          *string `json:"parentName" doc:"The snapshot before it; null for the first."`
}

type snapshotLimits struct {
	TotalSnapshots int `json:"totalSnapshots" doc:"How many snapshots the VPS may have at a time."`
}

type snapshotGates struct {
	CanCreate  gate `json:"canCreate"`
	CanRestore gate `json:"canRestore"`
}

type listSnapshotsOutput struct {
	Body struct {
		Data      []snapshotItem `json:"data"`
		Available bool           `json:"available" doc:"Whether there can be snapshots of this VPS at all."`
		Reason    *string        `json:"reason" doc:"Why there cannot."`
		Limits    snapshotLimits `json:"limits"`
		Actions   snapshotGates  `json:"actions"`
	}
}

type snapshotPath struct {
	ID         string `path:"id" doc:"Public VPS id from GET /api/v2/vps data[].id." example:"vps_01hxa3b4c5d6e7f8g9h0j1k2m3"`
	SnapshotID string `path:"snapshotId" doc:"Snapshot name from GET /api/v2/vps/{id}/snapshots data[].name." example:"before-upgrade"`
}

type createSnapshotBody struct {
	Name        string  `json:"name" pattern:"^[A-Za-z0-9_-]{1,40}$" doc:"Name of the snapshot, and its id in paths." example:"before-upgrade"`
	Description *string `json:"description,omitzero" maxLength:"500" doc:"Words to know it again by." example:"Before the upgrade to 2.0"`
}

func (b *createSnapshotBody) request() control.SnapshotRequest {
	return control.SnapshotRequest{Name: b.Name, Description: text(b.Description)}
}

type noBody struct{}

func (s *server) registerSnapshots() {
	register(s, scopes(holdfast.ScopeReadVM), huma.Operation{
		OperationID: "listSnapshots", Method: http.MethodGet, Path: "/api/v2/vps/{id}/snapshots", Tags: []string{tagSnapshots},
		Summary:     "List VPS snapshots",
		Description: "The snapshots of a VPS, the oldest first, with the gates of what can be done with them. A restore in place takes them away, and its undo brings them back.",
	}, s.listSnapshots)
	registerCommand(s, scopes(holdfast.ScopeBackupVM), huma.Operation{
		OperationID: "createSnapshot", Method: http.MethodPost, Path: "/api/v2/vps/{id}/snapshots", Tags: []string{tagSnapshots},
		Summary: "Create VPS snapshot",
		Description: "Queue a local snapshot of all disks of a VPS at one instant; the VPS runs on. It is for going back soon: it is deleted after a day, and lies on the VPS's own host. " +
			"For longer, and against the loss of the host, make a backup.",
	}, "Snapshot operation queued.", command[vpsPath, createSnapshotBody]{
		check: func(ctx context.Context, caller control.Caller, p *vpsPath, b *createSnapshotBody) ([]holdfast.Field, error) {
			return s.control.CheckSnapshot(ctx, caller, p.ID, b.request())
		},
		do: func(ctx context.Context, caller control.Caller, p *vpsPath, b *createSnapshotBody, once *control.Once) (control.Accepted, error) {
			return s.control.CreateSnapshot(ctx, caller, p.ID, b.request(), once)
		},
	})
	registerCommand(s, scopes(holdfast.ScopeBackupVM), huma.Operation{
		OperationID: "restoreSnapshot", Method: http.MethodPost, Path: "/api/v2/vps/{id}/snapshots/{snapshotId}/actions/restore", Tags: []string{tagSnapshots},
		Summary: "Roll a VPS back to a snapshot",
		Description: "Queue the rollback of all disks of a VPS to a snapshot. This is destructive: everything written since is lost, and so are the snapshots that were taken later. " +
			"The VPS is asked to power off, after a minute it is stopped by force, and it is started again if it ran; power actions are refused meanwhile.",
	}, "Rollback queued.", command[snapshotPath, noBody]{
		check: func(ctx context.Context, caller control.Caller, p *snapshotPath, _ *noBody) ([]holdfast.Field, error) {
			return nil, s.control.OwnSnapshot(ctx, caller, p.ID, p.SnapshotID)
		},
		do: func(ctx context.Context, caller control.Caller, p *snapshotPath, _ *noBody, once *control.Once) (control.Accepted, error) {
			return s.control.RestoreSnapshot(ctx, caller, p.ID, p.SnapshotID, once)
		},
	})
	register(s, scopes(holdfast.ScopeBackupVM), huma.Operation{
		OperationID: "deleteSnapshot", Method: http.MethodDelete, Path: "/api/v2/vps/{id}/snapshots/{snapshotId}", Tags: []string{tagSnapshots},
		DefaultStatus: http.StatusAccepted, Responses: map[string]*huma.Response{"202": {Description: "Deletion queued."}},
		Summary:     "Delete a snapshot",
		Description: "Queue the deletion of a snapshot while the VPS runs on. Those before and after it stay.",
	}, func(ctx context.Context, x *exchange, in *snapshotPath) (*envelopeOutput, error) {
		o, err := s.control.DeleteSnapshot(ctx, *x.caller, in.ID, in.SnapshotID)
		if err != nil {
			return nil, err
		}
		return &envelopeOutput{envelopeOf(o)}, nil
	})
}

type envelopeOutput struct{ Body envelope }

func (s *server) listSnapshots(ctx context.Context, x *exchange, in *vpsPath) (*listSnapshotsOutput, error) {
	list, err := s.control.ListSnapshots(ctx, *x.caller, in.ID)
	if err != nil {
		return nil, err
	}
	out := &listSnapshotsOutput{}
	out.Body.Data = []snapshotItem{}
	for _, i := range list.Snapshots {
		out.Body.Data = append(out.Body.Data, snapshotItem{
			DisplayID: i.Name, Name: i.Name, Description: textOrNull(i.Description),
			CreatedAt: wireTimeOrNull(i.TakenAt), ExpiresAt: wireTimeOrNull(i.ExpiresAt), ParentName: textOrNull(i.Parent),
		})
	}
	out.Body.Available, out.Body.Reason = list.Available.Allowed, textOrNull(list.Available.Reason)
	out.Body.Limits.TotalSnapshots = list.Limit
	out.Body.Actions = snapshotGates{gateOf(list.Gates.Create), gateOf(list.Gates.Restore)}
	return out, nil
}
