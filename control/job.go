package control

import (
	"context"

	"holdfast"
)

// GetJob is an operation as its account sees it: the key that started it may,
// whatever its scopes, and so may every key of the account that reads VPSs. A
// key that may neither learns nothing about which jobs exist.
func (c *Control) GetJob(ctx context.Context, caller Caller, id string) (holdfast.Operation, error) {
	const op = "control.GetJob"
	none := holdfast.E(holdfast.CodeJobNotFound, "There is no such job. GET /api/jobs lists yours.")
	scope := holdfast.ScopeGate(caller.Scopes, holdfast.ScopeReadVM).Err()
	refusal := scope
	if refusal == nil {
		refusal = none
	}
	job, err := holdfast.ParseID[holdfast.JobID](id)
	if err != nil {
		return holdfast.Operation{}, refusal
	}
	o, err := c.store.OperationOf(ctx, caller.Account, job)
	if err = missing(err, holdfast.CodeJobNotFound, "There is no such job."); err != nil {
		if holdfast.CodeOf(err) == holdfast.CodeJobNotFound {
			return holdfast.Operation{}, refusal
		}
		return holdfast.Operation{}, told(op, err)
	}
	if o.Kind.Upkeep() {
		return holdfast.Operation{}, refusal
	}
	if scope != nil && (o.KeyID == "" || o.KeyID != caller.Key) {
		return holdfast.Operation{}, scope
	}
	return o, nil
}
