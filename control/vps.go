package control

import (
	"context"

	"holdfast"
	"holdfast/store"
)

// VPSFilter narrows a list of VPSs; empty fields do not.
type VPSFilter struct {
	PrimaryIP string
	Name      string // the whole name, in any case
}

// ListVPS is a page of the caller's VPSs, the newest first. A terminated VPS is
// among them for as long as it has a backup that can be restored.
func (c *Control) ListVPS(ctx context.Context, caller Caller, f VPSFilter, p Page) (Listed[holdfast.VPS], error) {
	const op, list = "control.ListVPS", "vps"
	after, err := readCursor(caller.Account, list, p.Cursor)
	if err != nil {
		return Listed[holdfast.VPS]{}, err
	}
	limit := p.Limit
	if limit == 0 {
		limit = DefaultPage
	}
	items, more, err := c.store.ListShownVPS(ctx, caller.Account, store.VPSFilter(f), store.Page{Limit: min(limit, MaxPage), After: after})
	if err != nil {
		return Listed[holdfast.VPS]{}, told(op, err)
	}
	out := Listed[holdfast.VPS]{Items: items}
	if more {
		last := items[len(items)-1]
		out.NextCursor = writeCursor(caller.Account, list, last.CreatedAt, last.ID.String())
	}
	return out, nil
}

// PowerGates say which power actions a VPS would take now.
type PowerGates struct{ Start, Shutdown, Stop, Restart, Reset holdfast.Gate }

// GetVPS is one VPS of the caller's, with the gates of its power actions.
func (c *Control) GetVPS(ctx context.Context, caller Caller, id string) (holdfast.VPS, PowerGates, error) {
	f, err := readPower(ctx, c.store.Queries(), caller, id)
	if err != nil {
		return holdfast.VPS{}, PowerGates{}, told("control.GetVPS", err)
	}
	return f.vps, f.gates(), nil
}

// OwnVPS says whether the VPS is the caller's: vps_not_found if not.
func (c *Control) OwnVPS(ctx context.Context, caller Caller, id string) error {
	_, err := ownVPS(ctx, c.store.Queries(), caller, id)
	return told("control.OwnVPS", err)
}

const noSuchVPS = "There is no such VPS. GET /api/v2/vps lists yours."

func ownVPS(ctx context.Context, q *store.Queries, caller Caller, id string) (holdfast.VPS, error) {
	vps, err := holdfast.ParseID[holdfast.VPSID](id)
	if err != nil {
		return holdfast.VPS{}, holdfast.E(holdfast.CodeVPSNotFound, noSuchVPS)
	}
	v, err := q.VPSOf(ctx, caller.Account, vps)
	return v, missing(err, holdfast.CodeVPSNotFound, noSuchVPS)
}
