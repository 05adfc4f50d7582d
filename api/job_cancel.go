package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
	"holdfast/control"
)

func (s *server) registerJobCancel() {
	registerCommand(s, anyKey, huma.Operation{
		OperationID: "cancelJob", Method: http.MethodPost, Path: "/api/jobs/{jobId}/actions/cancel", Tags: []string{tagJobs},
		Summary: "Cancel a job",
		Description: "Ask for the end of a job; it needs the scopes that start such a job. A job that has not begun ends at once, another when it has cleared up: poll it. " +
			"It ends failed, with error.code \"cancelled\" and isCancelled, and leaves no partial backup, no VM and no bill. Repeating the call is harmless. " +
			"A restore in place, its undo and a rollback can be cancelled until the disks are replaced, the deletion of a snapshot and a power action until they begin; " +
			"after that, and when the job has ended, the answer is 409 job_not_cancellable. A backup whose data is complete by then completes.",
	}, "The end of the job is asked for.", command[jobPath, noBody]{
		admit: func(ctx context.Context, caller control.Caller, p *jobPath) error {
			return s.control.MayCancelJob(ctx, caller, p.JobID)
		},
		check: func(context.Context, control.Caller, *jobPath, *noBody) ([]holdfast.Field, error) { return nil, nil },
		do: func(ctx context.Context, caller control.Caller, p *jobPath, _ *noBody, once *control.Once) (control.Accepted, error) {
			return s.control.CancelJob(ctx, caller, p.JobID, once)
		},
	})
}
