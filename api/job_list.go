package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

type listJobsInput struct {
	Limit      int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many to return."`
	Cursor     string `query:"cursor" doc:"nextCursor of the page before, unchanged."`
	ResourceID string `query:"resourceId" doc:"Only jobs that work on this VPS, or make, read or delete this backup."`
	Status     string `query:"status" enum:"pending,queued,in_progress,completed,failed" doc:"Only jobs in this state."`
	Type       string `query:"type" enum:"backup,backup_delete,restore_to_payg,restore_in_place,restore_undo,snapshot_create,snapshot_restore,snapshot_delete,vps_create,vps_start,vps_stop,vps_restart,vps_reset,vps_reshape,vps_delete" doc:"Only jobs of this type."`
}

type listJobsOutput struct {
	Body struct {
		Data       []Job   `json:"data"`
		HasMore    bool    `json:"hasMore"`
		NextCursor *string `json:"nextCursor" doc:"null on the last page."`
	}
}

func (s *server) registerJobList() {
	register(s, anyKey, huma.Operation{
		OperationID: "listJobs", Method: http.MethodGet, Path: "/api/jobs", Tags: []string{tagJobs},
		Summary: "List jobs",
		Description: "Jobs that the key may read, the newest first: with the scope read:vm all of the account, else those that the key itself has started. " +
			"By the id of a backup, its restores are found too: a client that lost the answer to a purchase sees whether it went through.",
	}, func(ctx context.Context, x *exchange, in *listJobsInput) (*listJobsOutput, error) {
		page, err := s.control.ListJobs(ctx, *x.caller, control.JobFilter{
			Resource: in.ResourceID, Status: holdfast.OperationStatus(in.Status), Kind: holdfast.Kind(in.Type),
		}, control.Page{Limit: in.Limit, Cursor: in.Cursor})
		if err != nil {
			return nil, err
		}
		out := &listJobsOutput{}
		out.Body.Data = []Job{}
		for _, o := range page.Items {
			out.Body.Data = append(out.Body.Data, x.jobOf(o))
		}
		out.Body.NextCursor = textOrNull(page.NextCursor)
		out.Body.HasMore = page.NextCursor != ""
		return out, nil
	})
}
