package control

import (
	"context"
	"encoding/json"
	"time"

	"holdfast"
)

// JobInput names an operation.
type JobInput struct {
	JobID string `json:"jobId"`
}

// JobInfo is an operation as its operator sees it.
type JobInfo struct {
	JobID     string                   `json:"jobId"`
	Type      holdfast.Kind            `json:"type"`
	Status    holdfast.OperationStatus `json:"status"`
	Account   string                   `json:"account"`
	VPS       string                   `json:"vps,omitzero"`
	Backup    string                   `json:"backup,omitzero"`
	Place     string                   `json:"place,omitzero"`
	Progress  holdfast.Progress        `json:"progress"`
	Result    json.RawMessage          `json:"result,omitzero"`
	Failure   *holdfast.Failure        `json:"failure,omitzero"`
	Attempts  int                      `json:"attempts"`
	CreatedAt time.Time                `json:"createdAt"`
	EndedAt   *time.Time               `json:"finishedAt"`
}

// JobInfo shows an operation of any account.
func (c *Control) JobInfo(ctx context.Context, in JobInput) (JobInfo, error) {
	o, err := c.job(ctx, in.JobID)
	return JobInfo{
		JobID: o.ID.String(), Type: o.Kind, Status: o.Status, Account: o.AccountID.String(), VPS: o.VPSID.String(),
		Backup: o.BackupID.String(), Place: o.Place, Progress: o.Progress, Result: o.Result, Failure: o.Failure, Attempts: o.Attempts,
		CreatedAt: o.CreatedAt, EndedAt: timeOrNull(o.FinishedAt),
	}, err
}

func (c *Control) job(ctx context.Context, id string) (holdfast.Operation, error) {
	const none = "There is no such job."
	job, err := holdfast.ParseID[holdfast.JobID](id)
	if err != nil {
		return holdfast.Operation{}, holdfast.E(holdfast.CodeJobNotFound, none)
	}
	o, err := c.store.Operation(ctx, job)
	return o, told("control.JobInfo", missing(err, holdfast.CodeJobNotFound, none))
}

// WaitJob polls an operation until it has ended or ctx is done, and calls
// progress, which may be nil, with each state that it sees. The operation may
// run in another process: there is no event to wait for.
func (c *Control) WaitJob(ctx context.Context, id string, every time.Duration, progress func(holdfast.Operation)) (holdfast.Operation, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		o, err := c.job(ctx, id)
		if err != nil {
			return o, err
		}
		if progress != nil {
			progress(o)
		}
		if !o.Active() {
			return o, nil
		}
		select {
		case <-ctx.Done():
			return o, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
