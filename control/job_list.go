package control

import (
	"context"

	"holdfast"
	"holdfast/store"
)

// JobFilter narrows a list of jobs; empty fields do not.
type JobFilter struct {
	Resource string // the id of a VPS or a backup
	Status   holdfast.OperationStatus
	Kind     holdfast.Kind
}

// ListJobs is a page of the jobs that the caller may read, the newest first: all of
// its account with the scope that reads VPSs, else those that its key has started.
func (c *Control) ListJobs(ctx context.Context, caller Caller, f JobFilter, p Page) (Listed[holdfast.Operation], error) {
	const op, list = "control.ListJobs", "jobs"
	none := Listed[holdfast.Operation]{}
	after, err := readCursor(caller.Account, list, p.Cursor)
	if err != nil {
		return none, err
	}
	filter := store.OperationFilter{Resource: f.Resource, Status: f.Status, Kind: f.Kind}
	if g := holdfast.ScopeGate(caller.Scopes, holdfast.ScopeReadVM); !g.Allowed {
		if caller.Key == "" { // what no key has started is nobody's
			return none, g.Err()
		}
		filter.Key = caller.Key
	}
	if f.Resource != "" && !isResource(f.Resource) {
		return none, nil
	}
	limit := p.Limit
	if limit == 0 {
		limit = DefaultPage
	}
	items, more, err := c.store.ListOperations(ctx, caller.Account, filter, store.Page{Limit: min(limit, MaxPage), After: after})
	if err != nil {
		return none, told(op, err)
	}
	out := Listed[holdfast.Operation]{Items: items}
	if more {
		last := items[len(items)-1]
		out.NextCursor = writeCursor(caller.Account, list, last.CreatedAt, last.ID.String())
	}
	return out, nil
}

// isResource says whether a job can be of what an id names, by its form.
func isResource(id string) bool {
	if _, err := holdfast.ParseID[holdfast.VPSID](id); err == nil {
		return true
	}
	_, err := holdfast.ParseID[holdfast.BackupID](id)
	return err == nil
}
