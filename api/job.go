package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdfast"
)

// Job is an operation as it is polled. Newer clients read its fields at the top
// of the answer, older ones under data.
type Job struct {
	Operation
	Type            string          `json:"type" example:"backup"`
	Progress        int             `json:"progress" minimum:"0" maximum:"100"`
	ProgressDetails progressDetails `json:"progressDetails"`
	IsCompleted     bool            `json:"isCompleted"`
	IsFailed        bool            `json:"isFailed"`
	IsRunning       bool            `json:"isRunning"`
	IsWaiting       bool            `json:"isWaiting"`
	IsCancelled     bool            `json:"isCancelled"`
	Error           orNull[problem] `json:"error" doc:"Why it failed."`
	CreatedAt       string          `json:"createdAt" format:"date-time"`
	StartedAt       *string         `json:"startedAt" format:"date-time"`
	FinishedAt      *string         `json:"finishedAt" format:"date-time"`
	Resource        jobResource     `json:"resource"`
	Links           jobLinks        `json:"links"`
}

type progressDetails struct {
	Percentage int    `json:"percentage" minimum:"0" maximum:"100"`
	Message    string `json:"message"`
	Current    int64  `json:"current" doc:"Bytes done."`
	Total      int64  `json:"total" doc:"Bytes in all; 0 while unknown."`
}

type jobResource struct {
	Type string `json:"type" enum:"vps,backup"`
	ID   string `json:"id"`
}

type jobLinks struct {
	Self    string `json:"self"`
	VPS     string `json:"vps"`
	Backups string `json:"backups,omitzero"`

	Snapshots string `json:"snapshots,omitzero"`
}

type jobAnswer struct {
	Job
	Data      Job    `json:"data" doc:"The same job again, for older clients."`
	Success   bool   `json:"success" doc:"Whether this request succeeded; see isFailed for the job."`
	Timestamp string `json:"timestamp" format:"date-time"`
	RequestID string `json:"requestId"`
}

type jobPath struct {
	JobID string `path:"jobId" doc:"Public job id from an operation envelope." example:"job_01hxa3b4c5d6e7f8g9h0j1k2m3"`
}

type jobOutput struct{ Body jobAnswer }

func (s *server) registerJobs() {
	register(s, anyKey, huma.Operation{
		OperationID: "getJob", Method: http.MethodGet, Path: "/api/jobs/{jobId}", Tags: []string{tagJobs},
		Summary: "Get a job",
		Description: "How far an operation has come. The key that started the job may read it whatever its scopes; so may every key of the account with the scope read:vm. " +
			"A failed job answers 200 too, with its error.",
	}, func(ctx context.Context, x *exchange, in *jobPath) (*jobOutput, error) {
		o, err := s.control.GetJob(ctx, *x.caller, in.JobID)
		if err != nil {
			return nil, err
		}
		j := x.jobOf(o)
		return &jobOutput{jobAnswer{Job: j, Data: j, Success: true, Timestamp: wireTime(s.options.Clock()), RequestID: x.id.String()}}, nil
	})
}

func (x *exchange) jobOf(o holdfast.Operation) Job {
	percentage, message := o.Progress.Percentage(), o.Progress.Message
	switch o.Status {
	case holdfast.OperationQueued:
		message = "Waiting for a runner"
	case holdfast.OperationCompleted:
		percentage, message = 100, "Completed"
	case holdfast.OperationFailed:
		message = "Failed"
	case holdfast.OperationInProgress:
	}
	out := Job{
		Operation: operationOf(o), Type: string(o.Kind), Progress: percentage,
		ProgressDetails: progressDetails{percentage, message, o.Progress.Current, o.Progress.Total},
		IsCompleted:     o.Status == holdfast.OperationCompleted, IsFailed: o.Status == holdfast.OperationFailed,
		IsRunning: o.Status == holdfast.OperationInProgress, IsWaiting: o.Status == holdfast.OperationQueued,
		CreatedAt: wireTime(o.CreatedAt), StartedAt: wireTimeOrNull(o.StartedAt), FinishedAt: wireTimeOrNull(o.FinishedAt),
		Resource: jobResource{"vps", o.VPSID.String()},
		Links:    jobLinks{Self: holdfast.PollURL(o.ID), VPS: "/api/v2/vps/" + o.VPSID.String()},
	}
	if o.Kind == holdfast.KindBackup || o.Kind == holdfast.KindBackupDelete {
		out.Resource = jobResource{"backup", o.BackupID.String()}
		out.Links.Backups = out.Links.VPS + "/backups"
	}
	switch o.Kind { //nolint:exhaustive // the others have no list of their own
	case holdfast.KindSnapshotCreate, holdfast.KindSnapshotRestore, holdfast.KindSnapshotDelete:
		out.Links.Snapshots = out.Links.VPS + "/snapshots"
	}
	if o.Failure != nil {
		if out.IsCancelled = o.Failure.Code == holdfast.CodeCancelled; out.IsCancelled {
			out.ProgressDetails.Message = "Cancelled"
		}
		out.Error.value = x.problemOf(&holdfast.Error{Code: o.Failure.Code, Msg: o.Failure.Message, Extensions: o.Failure.Extensions})
	}
	return out
}
